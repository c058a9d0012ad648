"""A served vault that logs JSON: each line an object, and no value of a record in any."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

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


@pytest.fixture
def home(tmp_path) -> tuple[Home, object]:
    homes = {name: make_home(tmp_path / name, name) for name in ("north", "south")}
    config = template(name="north", source='path = "r.csv"', epsilon=8.0, delta=1e-3)
    (tmp_path / "north" / "site.toml").write_text(
        config + '\n[monitoring]\nlog_format = "json"\nlog_level = "info"\n'
    )
    plan = make_plan(tmp_path / "study", homes)
    approve_at(homes["north"], plan, table(50))
    return homes["north"], plan


def test_every_line_is_an_object_and_no_record_is_in_any(home, tmp_path):
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
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    names = [line["event"] for line in lines]
    assert names[:2] == ["opened", "serving"] and names[-1] == "closed"
    silent = [line for line in lines if line.get("code") == "silence"]
    assert silent and silent[0]["round"] == 1 and silent[0]["level"] == "warning"
    assert all({"time", "level", "event"} <= line.keys() for line in lines)
    assert PLANTED in (made.path / "private.log").read_text()  # for the steward alone
    assert PLANTED not in log.read_text()
    assert PLANTED not in AuditLog(made.path).path.read_text()


def test_an_error_at_the_start_is_an_event_with_its_code(tmp_path, home):
    made, _ = home
    done = subprocess.run(
        [sys.executable, "-m", "fedloom", "--log-format", "json", "site", "serve"]
        + ["--home", str(made.path), "--socket", "/proc/none/v.sock"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    last = json.loads(done.stderr.splitlines()[-1])
    assert done.returncode == last["exit_code"] != 0
    assert last["event"] == "ended" and last["level"] == "error" and last["code"]


def test_commands_for_people_print_as_ever(home):
    made, _ = home
    done = cli("--log-format", "json", "site", "pause", "--home", made.path)
    assert done.code == 0 and "paused" in done.out and done.err == ""
    assert cli("--log-format", "xml", "runs").code == 2


def test_the_private_log_stays_bounded(home, monkeypatch):
    made, _ = home
    monkeypatch.setattr("fedloom.client.home._LARGEST_LOG", 1000)
    for number in range(200):
        made.log(f"line {number}")
    sizes = [path.stat().st_size for path in made.path.glob("private.log*")]
    assert len(sizes) == 2 and max(sizes) < 1100
    assert "line 199" in (made.path / "private.log").read_text()
