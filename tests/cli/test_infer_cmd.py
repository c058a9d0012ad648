"""`fedloom infer`: numbers with intervals from a release, refusals with their exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

import fedloom
from fedloom.common.errors import NotMeasuredError
from tests.federation import cli, make


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("infer")
    assert make(folder).simulate(folder / "run").code == 0
    assert cli("release", "build", folder / "run", "--out", folder / "release").code == 0
    return folder / "release"


def test_a_mean_by_group_has_intervals_and_costs_nothing(folder):
    done = cli("infer", folder, "--mean", "age", "--by", "sex", "--json")
    assert done.code == 0
    found = json.loads(done.out)
    assert [one["name"] for one in found["estimates"]] == ["sex: female", "sex: male"]
    for one in found["estimates"]:
        assert one["lower"] < one["value"] < one["upper"]
        assert one["std_error"] >= one["std_noise"] > 0
    assert found["epsilon_added"] == 0.0


def test_python_finds_the_same_and_draws_it(folder, tmp_path):
    release = fedloom.Release(folder)
    found = release.infer(mean="age", by="sex")
    done = cli("infer", folder, "--mean", "age", "--by", "sex", "--json", "--plot",
               tmp_path / "chart.svg")  # fmt: skip
    assert found.to_dict() == json.loads(done.out)
    frame = found.to_frame()
    assert frame.loc["sex: male", "value"] == found["sex: male"].value
    root = ElementTree.fromstring((tmp_path / "chart.svg").read_text())
    assert len(root.findall("{http://www.w3.org/2000/svg}circle")) == 2
    assert found.plot().svg + "\n" == (tmp_path / "chart.svg").read_text()


@pytest.mark.parametrize(
    "words",
    [
        ["visited ~ age"],
        ["--share", "visited", "--by", "sex", "--differences"],
        ["--quantile", "age", "--at", "0.9"],
        ["--table", "sex,visited"],
        ["age ~ C(sex)", "--family", "poisson"],
    ],
)
def test_every_kind_of_question_is_answered(folder, words):
    assert cli("infer", folder, *words).code == 0


@pytest.mark.parametrize(
    "words, code",
    [
        (["visited ~ age*sex"], 3),
        (["visited ~ shoe"], 2),
        (["visited ~"], 2),
        ([], 2),
        (["--mean", "age", "--share", "sex"], 2),
        (["--mean", "sex", "--by", "age", "--family", "linear"], 2),
        (["--table", "age,sex,visited"], 2),
        (["--mean", "age", "--plot", "chart.png"], 2),
    ],
)
def test_what_cannot_be_told_is_refused_with_its_exit_code(folder, words, code):
    assert cli("infer", folder, *words).code == code


def test_a_refusal_names_itself_in_json(folder):
    done = cli("infer", folder, "visited ~ age:sex", "--json")
    assert json.loads(done.out)["code"] == NotMeasuredError.__name__
