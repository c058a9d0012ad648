"""The main job, as the README tells it: one command, real tables, a release that verifies."""

from __future__ import annotations

import importlib
import json
import os
import shutil

import pytest

import fedloom
from fedloom.common.resources import resource_path
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
