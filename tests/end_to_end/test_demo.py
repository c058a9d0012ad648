"""The main job, as the README tells it: one command, real tables, a release that verifies."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import pytest

import fedloom
from fedloom.deployment.supervisor import standing
from tests.advice import unknown_advice
from tests.federation import cli


def test_the_demo_ends_in_a_release(tmp_path):
    outcome = cli("demo", "--out", tmp_path / "demo", "--json")
    assert outcome.code == 0, outcome.err
    result = outcome.json
    checked = fedloom.verify(result["release"])
    assert checked.ok and checked.epsilon <= 3.0
    report = (tmp_path / "demo" / "release" / "report.html").read_text()
    assert "<svg" in report


@pytest.mark.deploy
def test_the_demo_as_a_federation_ends_in_a_release_and_leaves_nothing(tmp_path):
    outcome = cli("demo", "--deploy", "--out", tmp_path / "demo", "--json")
    assert outcome.code == 0, outcome.err
    assert fedloom.verify(outcome.json["release"]).ok
    assert len(outcome.json["sites"]) == 3
    homes = [path for path in (tmp_path / "demo" / "sites").iterdir() if path.is_dir()]
    assert len(homes) >= 3
    for home in (tmp_path / "demo" / "coordinator", *homes):
        assert standing(home) is None


@pytest.mark.slow
def test_an_interrupted_demo_goes_on_where_it_was(tmp_path):
    words = [sys.executable, "-m", "fedloom", "demo", "--out", str(tmp_path / "demo")]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    while process.poll() is None and not (tmp_path / "demo" / "run" / "run.json").exists():
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130 and "--resume" in err
    assert unknown_advice(err, ["demo"]) == []
    before = json.loads((tmp_path / "demo" / "run" / "run.json").read_text())
    again = cli("demo", "--out", tmp_path / "demo")
    assert again.code == 2 and "--resume" in again.err
    outcome = cli("demo", "--resume", "--out", tmp_path / "demo", "--json")
    assert outcome.code == 0, outcome.err
    assert fedloom.verify(outcome.json["release"]).ok
    after = json.loads((tmp_path / "demo" / "run" / "run.json").read_text())
    assert after["run"] == before["run"] and after["state"] == "done"
    assert cli("demo", "--resume", "--out", tmp_path / "demo").code == 0


def test_without_out_the_last_demo_is_resumed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli("demo", "--resume").code == 2
    assert cli("demo", "--resume", "--out", tmp_path / "none").code == 2
    for name in ("fedloom-demo", "fedloom-demo-2", "fedloom-demo-4"):
        (tmp_path / name).mkdir()
    told = cli("demo", "--resume")
    assert told.code == 2 and "fedloom-demo-2 " in told.err
