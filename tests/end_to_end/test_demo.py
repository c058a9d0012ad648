"""The main job, as the README tells it: one command, real tables, a release that verifies."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

import fedloom
from fedloom.common.resources import resource_path
from tests.advice import unknown_advice
from tests.federation import cli

# `fedloom.cli.demo` is the command's module, and in it the command has the same name.
command = importlib.import_module("fedloom.cli.demo")


def test_the_demo_ends_in_a_release(tmp_path):
    outcome = cli("demo", "--out", tmp_path / "demo", "--json")
    assert outcome.code == 0, outcome.err
    result = outcome.json
    checked = fedloom.verify(result["release"])
    assert checked.ok and checked.epsilon <= 3.0
    report = (tmp_path / "demo" / "release" / "report.html").read_text()
    assert "<svg" in report


@pytest.mark.deploy
def test_the_demo_through_real_processes_ends_in_a_release_and_leaves_nothing(
    tmp_path, monkeypatch
):
    """The whole example but with two training rounds: each costs six processes of Flower."""
    example = tmp_path / "example"
    shutil.copytree(resource_path("examples/rand"), example)
    study = (example / "study.toml").read_text()
    assert "num_rounds = 10 " in study
    (example / "study.toml").write_text(study.replace("num_rounds = 10 ", "num_rounds = 2 "))
    monkeypatch.setattr(command, "_EXAMPLE", str(example))
    outcome = cli("demo", "--deploy", "--out", tmp_path / "demo", "--json")
    assert outcome.code == 0, outcome.err
    result = outcome.json
    assert fedloom.verify(result["release"]).ok
    run = json.loads((tmp_path / "demo" / "run" / "run.json").read_text())
    pids = {int(pid) for pid in flat(run["processes"])}
    assert len(pids) >= 13, "a SuperLink, six SuperNodes and six vaults"
    assert [pid for pid in pids if alive(pid)] == []


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def flat(value):
    if isinstance(value, dict):
        return [leaf for part in value.values() for leaf in flat(part)]
    if isinstance(value, list):
        return [leaf for part in value for leaf in flat(part)]
    return [value]


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
