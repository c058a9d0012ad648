"""What a served vault logs, as JSON or text: events alone, and no value of a record in any."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from fedloom.client.home import Home
from fedloom.client.link import connect
from fedloom.client.site_config import template
from fedloom.common.audit_log import AuditLog
from tests.federation import approve_at, cli, make_home, make_plan, request, send, signed, table

ROOT = Path(__file__).resolve().parents[2]
PLANTED = "Xanthippe"

# A vault in which reading the frozen records fails with an error that quotes one of them.
BROKEN = f"""
import sys, warnings
import fedloom.client.vault as vault
def broken(*args, **more):
    warnings.warn("row of {PLANTED}")
    raise ValueError("could not convert string to float: '{PLANTED}'")
vault.answer_arrays = broken
from fedloom.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


TEXT = re.compile(r"(?P<time>\S+Z) (?P<level>info|warning|error) (?P<event>[a-z-]+)(?P<more>.*)")


@pytest.fixture(params=["json", "text"])
def form(request) -> str:
    return request.param


@pytest.fixture
def home(tmp_path, form) -> tuple[Home, object]:
    homes = {name: make_home(tmp_path / name, name) for name in ("north", "south")}
    config = template(name="north", source='path = "r.csv"', epsilon=8.0, delta=1e-3)
    (tmp_path / "north" / "site.toml").write_text(
        config + f'\n[monitoring]\nlog_format = "{form}"\nlog_level = "info"\n'
    )
    plan = make_plan(tmp_path / "study", homes)
    approve_at(homes["north"], plan, table(50))
    return homes["north"], plan


def read(line: str, form: str) -> dict[str, str]:
    """Returns an event's fields as text; a line that is no event is an error."""
    if form == "json":
        return {name: str(value) for name, value in json.loads(line).items()}
    found = TEXT.fullmatch(line)
    assert found is not None, line
    return {**found.groupdict(), **dict(re.findall(r"([a-z_]+)=(\S+)", found["more"]))}


def test_every_line_is_an_event_and_no_record_is_in_any(home, form, tmp_path):
    made, plan = home
    folder = tmp_path / "s"
    folder.mkdir(mode=0o700)
    words = ["site", "serve", "--home", str(made.path), "--socket", str(folder / "v.sock")]
    log = tmp_path / "vault.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-c", BROKEN, *words],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    while "serving" not in log.read_text():
        assert process.poll() is None, log.read_text()
    connection = connect(f"unix:{folder / 'v.sock'}", timeout_s=60)
    assert send(connection, request(plan)) != b""
    assert send(connection, request(plan, "statistic", 1)) == b""
    connection.handle(signed(request(plan, run="x" * 200)))
    connection.close()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 0
    lines = [read(line, form) for line in log.read_text().splitlines()]
    assert "warning" in {line["event"] for line in lines}
    names = [line["event"] for line in lines]
    assert names[:2] == ["opened", "serving"] and names[-1] == "closed"
    silent = [line for line in lines if line.get("code") == "silence"]
    assert silent and silent[0]["round"] == "1" and silent[0]["level"] == "warning"
    assert all({"time", "level", "event"} <= line.keys() for line in lines)
    assert PLANTED in (made.path / "private.log").read_text()  # for the steward alone
    assert PLANTED not in log.read_text()
    assert PLANTED not in AuditLog(made.path).path.read_text()


def test_an_error_at_the_start_is_an_event_with_its_code(home, form):
    made, _ = home
    done = subprocess.run(
        [sys.executable, "-m", "fedloom", "site", "serve"]
        + ["--home", str(made.path), "--socket", "/proc/none/v.sock"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    last = read(done.stderr.splitlines()[-1], form)
    assert str(done.returncode) == last["exit_code"] != "0"
    assert last["event"] == "ended" and last["level"] == "error" and last["code"]


def test_a_bug_while_serving_is_named_and_not_quoted(home, form):
    made, _ = home
    broken = BROKEN.replace("vault.answer_arrays = broken", "vault.Vault.open = broken")
    words = ["site", "serve", "--home", str(made.path)]
    done = subprocess.run(
        [sys.executable, "-c", broken, *words], cwd=ROOT, capture_output=True, text=True
    )
    *_, warned, last = (read(line, form) for line in done.stderr.splitlines())
    assert (warned["event"], warned["code"]) == ("warning", "UserWarning")
    assert done.returncode == 1
    assert (last["event"], last["code"]) == ("ended", "ValueError")
    assert PLANTED not in done.stderr + done.stdout


def test_what_keeps_the_programs_running_logs_events_too(home, form, monkeypatch):
    class Told:
        def __init__(self, programs, *, tell, **more) -> None:
            self.tell = tell

        def run(self) -> None:
            self.tell("started vault")

    made, _ = home
    monkeypatch.setattr("fedloom.deployment.supervisor.Supervisor", Told)
    programs = "fedloom.deployment.site_programs"
    monkeypatch.setattr(f"{programs}.places_of", lambda *_: SimpleNamespace(home=made.path))
    monkeypatch.setattr(f"{programs}.site_programs", lambda *_, **__: [])
    done = cli("site", "up", "--home", made.path)
    assert (done.code, done.out) == (0, "")
    assert [read(line, form)["event"] for line in done.err.splitlines()] == ["supervisor", "down"]


@pytest.mark.parametrize("form", ["text"])
def test_commands_for_people_print_as_ever(home):
    made, _ = home
    done = cli("--log-format", "json", "site", "pause", "--home", made.path)
    assert done.code == 0 and "paused" in done.out and done.err == ""
    assert cli("--log-format", "xml", "runs").code == 2


@pytest.mark.parametrize("form", ["text"])
def test_the_private_log_stays_bounded(home, monkeypatch):
    made, _ = home
    monkeypatch.setattr("fedloom.client.home._LARGEST_LOG", 1000)
    for number in range(200):
        made.log(f"line {number}")
    sizes = [path.stat().st_size for path in made.path.glob("private.log*")]
    assert len(sizes) == 2 and max(sizes) < 1100
    assert "line 199" in (made.path / "private.log").read_text()
