"""`fedloom doctor`: what it finds, its remedies and its exit code."""

from __future__ import annotations

import json
import os
import time
from types import SimpleNamespace

import pytest

from fedloom.cli import doctor
from fedloom.cli.main import main


@pytest.fixture
def home(tmp_path):
    folder = tmp_path / "home"
    folder.mkdir(mode=0o700)
    for name in ("key.pem", "ledger.db"):
        (folder / name).touch(mode=0o600)
    return folder


def test_a_fit_machine_passes(home, capsys):
    assert main(["doctor", "--home", str(home), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is True
    names = {entry["check"] for entry in report["checks"]}
    assert {"python", "packages", "train", "clock", "disk", "loopback", "socket", "home"} <= names


def test_a_home_open_to_others_fails_with_its_remedy(home, capsys):
    (home / "key.pem").chmod(0o644)
    assert main(["doctor", "--home", str(home)]) == 2
    assert f"chmod go-rwx {home / 'key.pem'}" in capsys.readouterr().out


def test_site_toml_may_be_read_by_others(home):
    (home / "site.toml").touch(mode=0o644)
    assert doctor.check_home(home).status == "ok"


def test_a_home_that_is_missing_fails(tmp_path):
    finding = doctor.check_home(tmp_path / "nowhere")
    assert finding.status == "failed" and "site init" in finding.remedy


def test_a_ledger_from_the_future_means_a_wrong_clock(home):
    later = time.time() + 86_400
    os.utime(home / "ledger.db", (later, later))
    assert doctor.check_clock(home).status == "failed"
    assert doctor.check_clock(None).status == "ok"


def test_a_long_socket_path_fails(monkeypatch, tmp_path):
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))
    finding = doctor.check_socket(None)
    assert finding.status == "failed" and "XDG_RUNTIME_DIR" in finding.remedy


@pytest.mark.parametrize("free, status", [(10**6, "failed"), (2**30, "warning"), (2**40, "ok")])
def test_free_disk(monkeypatch, tmp_path, free, status):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    assert doctor.check_disk(tmp_path / "not" / "yet").status == status


@pytest.mark.parametrize(
    "missing, status",
    [((), "ok"), (doctor.TRAIN, "ok"), (("opacus",), "failed"), (("torch",), "failed")],
)
def test_the_extra_is_there_wholly_or_not_at_all(monkeypatch, missing, status):
    found = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: None if name in missing else found(name))
    assert doctor.check_train().status == status


def test_a_missing_core_package_fails(monkeypatch):
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "scipy" else "1")
    assert "scipy" in doctor.check_core().detail


def test_the_lists_are_those_of_pyproject():
    """So that a dependency that is added is looked for too."""
    import re
    import tomllib
    from pathlib import Path

    project = tomllib.loads(
        (Path(__file__).resolve().parent.parent.parent / "pyproject.toml").read_text()
    )["project"]

    def names(requirements):
        return {re.match(r"[\w-]+", text).group().lower() for text in requirements}

    assert names(project["dependencies"]) == set(doctor.CORE)
    assert names(project["optional-dependencies"]["train"]) == set(doctor.TRAIN)
