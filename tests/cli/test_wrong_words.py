"""Paths and numbers on the command line that can never be meant: bad input, and nothing is made."""

from __future__ import annotations

import pytest

import fedloom
from fedloom.common.errors import ConfigError
from tests.federation import Federation, cli, make, make_home


@pytest.fixture
def federation(tmp_path) -> Federation:
    return make(tmp_path / "study")


@pytest.mark.parametrize("command", ["study check", "site plan", "simulate", "schema learn"])
def test_a_folder_in_the_place_of_a_study_is_bad_input(federation, tmp_path, command):
    words = {"simulate": ["--out", tmp_path / "run"], "schema learn": ["--out", tmp_path / "run"]}
    if command == "site plan":
        make_home(tmp_path / "home")
        (tmp_path / "home" / "site.toml").write_text(
            '[site]\nname = "north"\n[source]\npath = "x.csv"\n[policy]\nepsilon = 1.0\n'
            "delta = 1e-5\n"
        )
        words["site plan"] = ["--home", tmp_path / "home"]
    done = cli(*command.split(), federation.folder, *words.get(command, []))
    assert done.code == 2 and str(federation.folder) in done.err
    (tmp_path / "home" / "site.toml").unlink(missing_ok=True)
    (tmp_path / "home" / "site.toml").mkdir(parents=True)
    if command == "site plan":
        assert cli(*command.split(), federation.study, "--home", tmp_path / "home").code == 2


@pytest.mark.parametrize("seed", ["-1", "1.5", "x"])
def test_a_seed_is_a_whole_number_of_zero_or_more(federation, tmp_path, seed):
    assert federation.simulate(tmp_path / "run").code == 0
    table = federation.data("north")
    for words in (
        ("sample", tmp_path / "run", "--rows", "5", "--out", tmp_path / "x.csv"),
        ("impute", tmp_path / "run", table, "--out", tmp_path / "x.csv"),
        ("release", "build", tmp_path / "run", "--out", tmp_path / "release"),
    ):
        done = cli(*words, "--seed", seed)
        assert done.code == 2 and "--seed" in done.err
        assert not (tmp_path / "x.csv").exists() and not (tmp_path / "release").exists()
    if seed == "-1":
        with pytest.raises(ConfigError, match="0 or more"):
            fedloom.Run(tmp_path / "run").sample(5, seed=-1)
