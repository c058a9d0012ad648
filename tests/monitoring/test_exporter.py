"""The endpoint on the loopback, and the text file."""

from __future__ import annotations

import http.client
import json
import os
import socket
import stat

import pytest
from prometheus_client.core import GaugeMetricFamily

from fedloom.common.errors import ConfigError, LedgerError
from fedloom.monitoring.exporter import Exporter, write_text_file
from fedloom.monitoring.health import Health


class One:
    """A collector of one number."""

    def __init__(self, value: float = 1.0) -> None:
        self.value = value

    def collect(self):
        family = GaugeMetricFamily("fedloom_test", "A number.")
        family.add_metric([], self.value)
        yield family


class Broken:
    def collect(self):
        raise LedgerError("/home/north/ledger.db: entry 7 of patient Doe")


def get(port: int, path: str, host: str | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    headers = {} if host is None else {"Host": host}
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found


@pytest.fixture
def start():
    running = []

    def begin(collector, health=lambda: Health(())):
        running.append(Exporter(collector, health, port=0))
        return running[-1].port

    yield begin
    for exporter in running:
        exporter.stop()


def test_metrics_and_health_are_served(start):
    port = start(One(2.5))
    assert get(port, "/metrics")[1].endswith(b"fedloom_test 2.5\n")
    status, body = get(port, "/health")
    assert status == 200 and json.loads(body) == {"ready": True, "reasons": []}


def test_what_is_not_ready_answers_503_with_the_reasons(start):
    port = start(One(), lambda: Health(("paused",)))
    status, body = get(port, "/health")
    assert status == 503 and json.loads(body)["reasons"] == ["paused"]


def test_nothing_else_is_served(start):
    port = start(One())
    for path in ("/", "/metrics/../etc/passwd", "/ledger.db", "/metrics?x=1"):
        assert get(port, path)[0] == 404


def test_a_request_under_another_name_is_refused(start):
    port = start(One())
    assert get(port, "/metrics", f"attacker.example:{port}")[0] == 421
    assert get(port, "/metrics", f"localhost:{port}")[0] == 200


def test_the_text_of_an_error_is_not_given_out(start):
    status, body = get(start(Broken()), "/metrics")
    assert status == 503 and body == b"LedgerError\n"


def test_it_listens_on_the_loopback_alone(start):
    port = start(One())
    with socket.socket() as other:
        # Were it bound to every address, this one would be taken.
        other.bind(("127.0.0.2", port))


def test_a_port_that_is_taken_is_said(start):
    port = start(One())
    with pytest.raises(ConfigError):
        Exporter(One(), lambda: Health(()), port=port)


def test_the_text_file_is_replaced_whole_and_for_its_group(tmp_path, monkeypatch):
    path = tmp_path / "fedloom.prom"
    write_text_file(One(1.0), path)
    write_text_file(One(2.0), path)
    assert path.read_text().endswith("fedloom_test 2.0\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [entry.name for entry in tmp_path.iterdir()] == ["fedloom.prom"]

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError):
        write_text_file(One(3.0), path)
    assert path.read_text().endswith("fedloom_test 2.0\n")
    assert [entry.name for entry in tmp_path.iterdir()] == ["fedloom.prom"]


def test_a_text_file_of_another_name_is_refused(tmp_path):
    with pytest.raises(ConfigError):
        write_text_file(One(), tmp_path / "fedloom.txt")
