"""The steps to a coordinator, each of them failing once, with a stand-in for its door."""

from __future__ import annotations

import email.utils
import http.server
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fedloom.client.door_check import check_door
from fedloom.client.finding import Finding
from fedloom.privacy.node_key import generate_node_key, load_node_key, node_key_hex, node_key_pem
from fedloom.server.provision import certificates
from fedloom.server.provision.certificates import (
    Authority,
    issue_server_certificate,
    make_authority,
    renew_authority,
)


@dataclass
class Door:
    """A server that answers as Flower does."""

    folder: Path
    port: int
    code: int = 2003
    clock_s: float = 0.0
    body: bytes = b""
    context: ssl.SSLContext = field(default_factory=lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))

    def findings(self, **other: Path) -> list[Finding]:
        files = {"authority": self.folder / "a.crt", "node_key": self.folder / "node.pem", **other}
        return list(check_door(f"localhost:{self.port}", **files))

    def check(self, **other: Path) -> dict[str, bool]:
        return {finding.check: finding.passed for finding in self.findings(**other)}


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    authority = Authority(key=tmp_path / "a.key", certificate=tmp_path / "a.crt")
    make_authority(authority, host="localhost")
    key, chain = tmp_path / "s.key", tmp_path / "s.crt"
    issue_server_certificate(authority, host="localhost", key=key, chain=chain)
    generate_node_key(tmp_path / "node.pem")
    made = Door(folder=tmp_path, port=0)

    class Answers(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def date_time_string(self, timestamp: float | None = None) -> str:
            return email.utils.formatdate(time.time() - made.clock_s, usegmt=True)

        def answer(self) -> None:
            made.body = self.rfile.read(int(self.headers.get("content-length", 0)))
            text = json.dumps({"code": made.code}).encode()
            self.send_response(412 if self.command == "POST" else 200)
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = answer

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("localhost", 0), Answers)
    made.context.load_cert_chain(chain, key)
    server.socket = made.context.wrap_socket(server.socket, server_side=True)
    made.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield made
    server.shutdown()
    server.server_close()
    thread.join()


def test_every_step_passes_and_the_probe_is_what_flower_reads(door):
    steps = ["name", "port", "authority", "certificate", "clock", "node key"]
    assert door.check() == dict.fromkeys(steps, True)
    messages = pytest.importorskip("flwr.proto.fleet_pb2")
    read = messages.ActivateNodeRequest.FromString(door.body)
    key = load_node_key(door.folder / "node.pem")
    assert read.public_key == node_key_pem(node_key_hex(key)) and read.heartbeat_interval == 0


def test_a_key_that_is_not_registered_is_found(door):
    door.code = 2004
    assert door.check()["node key"] is False


@pytest.mark.parametrize("seconds", [-600.0, 60.0])
def test_a_clock_that_is_off_is_found(door, seconds):
    door.clock_s = seconds
    assert door.check()["clock"] is False


def test_a_server_of_another_authority_is_found(door, tmp_path):
    other = Authority(key=tmp_path / "o.key", certificate=tmp_path / "o.crt")
    make_authority(other, host="localhost")
    assert door.check(authority=other.certificate) == {
        "name": True, "port": True, "authority": True, "certificate": False
    }  # fmt: skip


def test_a_missing_name_and_a_closed_port_end_the_list(door, tmp_path):
    files = {"authority": tmp_path / "a.crt", "node_key": tmp_path / "node.pem"}
    (finding,) = check_door("no-such-host.invalid:1", **files)
    assert finding.check == "name" and finding.remedy
    with socket.socket() as free:
        free.bind(("localhost", 0))
        *_, last = check_door(f"localhost:{free.getsockname()[1]}", **files)
    assert last.check == "port" and not last.passed


@pytest.mark.parametrize(("days", "warned"), [(29, {"certificate"}), (31, set())])
def test_a_certificate_that_ends_within_30_days_is_warned_of(door, monkeypatch, days, warned):
    """The door of a server whose certificate was made for so many days."""
    monkeypatch.setattr(certificates, "SERVER_DAYS", days)
    authority = Authority(key=door.folder / "a.key", certificate=door.folder / "a.crt")
    key, chain = door.folder / "s.key", door.folder / "s.crt"
    issue_server_certificate(authority, host="localhost", key=key, chain=chain)
    door.context.load_cert_chain(chain, key)
    found = door.findings()
    assert all(finding.passed for finding in found)
    assert {finding.check for finding in found if finding.warning} == warned


@pytest.mark.parametrize(("days", "warned"), [(29, True), (31, False)])
def test_an_authority_that_ends_within_30_days_is_warned_of(door, monkeypatch, days, warned):
    monkeypatch.setattr(certificates, "AUTHORITY_DAYS", days)
    authority = Authority(key=door.folder / "a.key", certificate=door.folder / "a.crt")
    renew_authority(authority)
    found = {finding.check: finding for finding in door.findings()}
    assert found["authority"].passed and bool(found["authority"].warning) is warned
