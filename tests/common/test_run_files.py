"""What a run's folder holds is read in one place, and refused where it is damaged."""

from __future__ import annotations

import json

import numpy as np
import pytest

from fedloom.common.artifact import Artifact
from fedloom.common.errors import ConfigError
from fedloom.common.run_files import DONE, RunFiles


@pytest.fixture
def files(tmp_path) -> RunFiles:
    found = RunFiles(tmp_path)
    found.state_path.write_text(json.dumps({"run": "r", "state": DONE, "flower_run": 2**64 - 1}))
    return found


def test_a_run_is_told_from_a_release_and_from_nothing(files, tmp_path):
    assert files.exists() and files.done() and files.state()["flower_run"] == 2**64 - 1
    for name in ("nothing", "release"):
        (tmp_path / name).mkdir()
    (tmp_path / "release" / "manifest.json").touch()
    with pytest.raises(ConfigError, match="no run.json; give the folder"):
        RunFiles(tmp_path / "nothing").state()
    with pytest.raises(ConfigError, match="no run.json; it is a release"):
        RunFiles(tmp_path / "release").state()


@pytest.mark.parametrize("text", ["{", "[]", '{"run": 1, "run": 2}', '{"run": NaN}'])
def test_a_damaged_state_is_no_state(files, text):
    files.state_path.write_text(text)
    with pytest.raises(ConfigError, match=r"run\.json"):
        files.state()


def test_a_line_that_a_crash_cut_short_is_left_out_and_no_other(files):
    assert files.metrics() == []
    files.metrics_path.write_text('{"round": 1}\n{"rou')
    assert files.metrics() == [{"round": 1}]
    for text in ('{"round": 1}\n{"rou\n', '{"rou\n{"round": 1}\n'):
        files.metrics_path.write_text(text)
        with pytest.raises(ConfigError, match="line . is no JSON"):
            files.metrics()


def test_extracts_of_the_sites_that_are_named_are_read(files):
    files.extract_path("north").parent.mkdir()
    files.extract_path("north").write_text('{"entries": []}')
    files.extract_path("stranger").write_text("{")
    assert files.extracts(["north", "south"]) == {"north": {"entries": []}}
    with pytest.raises(ConfigError, match="resume the run"):
        files.extracts(["stranger"])


def test_a_folder_says_why_it_has_no_generator(files):
    with pytest.raises(ConfigError, match="finish the run"):
        files.read_generator(learns_schema=False)
    with pytest.raises(ConfigError, match="resume the run"):
        files.evaluation()
    made = Artifact(kind="mixture", config={}, arrays={"class_prior": np.ones(2) / 2})
    made.save(files.generator_path)
    assert files.read_generator(learns_schema=False).kind == "mixture"
    with pytest.raises(ConfigError, match="completed a schema"):
        files.read_generator(learns_schema=True)
