from __future__ import annotations

import json
import stat

import numpy as np
import pytest

from fedloom.common.artifact import Artifact
from fedloom.common.errors import ConfigError
from fedloom.server.run_folder import RunFolder
from tests.federation import COORDINATOR, make_home, make_plan


@pytest.fixture
def plan(tmp_path):
    return make_plan(tmp_path / "study", {"north": make_home(tmp_path / "home")})


@pytest.fixture
def folder(tmp_path, plan):
    return RunFolder.create(
        tmp_path / "run", plan, run="r1", details={"mode": "simulation"}, key=COORDINATOR
    )


def test_a_run_folder_is_made_once_and_found_again(tmp_path, folder, plan):
    found = RunFolder.open(tmp_path / "run")
    assert found.plan().digest() == plan.digest()
    assert found.state()["mode"] == "simulation" and not found.done()
    assert stat.S_IMODE(found.key_path.stat().st_mode) == 0o600
    with pytest.raises(ConfigError, match="--resume"):
        RunFolder.create(tmp_path / "run", plan, run="r2", details={}, key=COORDINATOR)
    with pytest.raises(ConfigError, match="no run"):
        RunFolder.open(tmp_path)


def test_an_unreadable_run_json_is_said(folder):
    (folder.path / "run.json").write_text("{")
    with pytest.raises(ConfigError, match=r"run\.json"):
        folder.state()


def test_runs_and_versions_of_sites_are_kept_beside_each_other(folder):
    folder.keep_versions({"north": {"torch": "2"}})
    folder.keep_runs({"north": 3})
    assert folder.state()["sites"]["north"] == {"versions": {"torch": "2"}, "runs": 3}


def test_metrics_of_rounds_that_will_be_done_again_are_dropped(folder):
    for number in (1, 2, 3):
        folder.append_metrics({"round": number, "sites": ["north"]})
    with (folder.path / "metrics.jsonl").open("a") as stream:
        stream.write('{"round": 4, "si')  # cut off by a crash
    assert [line["round"] for line in folder.metrics()] == [1, 2, 3]
    folder.keep_metrics_until(2)
    assert [line["round"] for line in folder.metrics()] == [1, 2]
    folder.append_metrics({"round": 3, "sites": ["north"]})
    assert [line["round"] for line in folder.metrics()] == [1, 2, 3]


def test_the_generator_is_there_whole_or_not_at_all(folder, monkeypatch):
    artifact = Artifact(kind="mixture", config={}, arrays={"class_prior": np.ones(2) / 2})
    with pytest.raises(ConfigError, match="--resume"):
        folder.generator()

    def cut(self, path):
        path.mkdir(parents=True)
        (path / "config.json").write_text("{}")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Artifact, "save", cut)
        with pytest.raises(KeyboardInterrupt):
            folder.save_generator(artifact)
    assert not folder.generator_path.exists()
    folder.save_generator(artifact)
    assert np.array_equal(folder.generator().arrays["class_prior"], [0.5, 0.5])


def test_extracts_are_kept_by_site(folder):
    folder.save_extract("north", "k" * 64, [{"seq": 0}])
    assert folder.has_extract("north") and not folder.has_extract("south")
    text = (folder.path / "extracts" / "north.json").read_text()
    assert json.loads(text) == {"public_key": "k" * 64, "entries": [{"seq": 0}]}


def test_the_end_of_a_run_is_noted(folder):
    folder.mark_done()
    assert folder.done() and folder.state()["finished"]
