"""`fedloom release drift`: two releases of one schema, in the terminal, as JSON and in Python."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import fedloom
from tests.federation import cli, make, table


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Returns a release of people all of whom are seven or older, and one of all ages."""
    folder = tmp_path_factory.mktemp("drift")
    for name in ("new", "old"):
        federation = make(folder / name, "tree", rows=2000)
        if name == "new":
            for seed, site in enumerate(federation.sites):
                frame = table(2000, seed=seed + 50)
                frame["age"] = pd.array(
                    np.where(frame["age"].isna(), None, 7 + frame["age"].fillna(0) % 3),
                    dtype="Int64",
                )
                frame.to_csv(federation.data(site), index=False)
        assert federation.simulate(folder / name / "run").code == 0
        built = cli("release", "build", folder / name / "run", "--out", folder / name / "release")
        assert built.code == 0
    return folder / "new" / "release", folder / "old" / "release"


def test_the_column_that_moved_comes_first_and_nothing_is_spent(folders):
    done = cli("release", "drift", *folders, "--json")
    assert done.code == 0
    first = done.json["columns"][0]
    assert (first["column"], first["verdict"]) == ("age", "drift")
    assert first["distance"] > first["by_chance"] + 3 * first["std_error"]
    assert done.json["epsilon_added"] == 0.0
    assert fedloom.Release(folders[0]).drift(folders[1]).to_dict() == {
        name: value for name, value in done.json.items() if name not in ("new", "old")
    }
    assert "age" in cli("release", "drift", *folders).out


def test_a_release_has_not_moved_from_itself(folders):
    found = fedloom.Release(folders[1]).drift(fedloom.Release(folders[1]))
    assert found.drifted == ()
    assert all(one.distance.value == 0.0 for one in found.columns)


def test_what_is_no_release_is_refused(folders, tmp_path):
    assert cli("release", "drift", folders[0], tmp_path).code == 2


def test_a_file_that_was_changed_after_signing_is_refused(folders, tmp_path):
    import shutil

    changed = tmp_path / "changed"
    shutil.copytree(folders[1], changed)
    answers = changed / "answers" / "round-0001.safetensors"
    answers.write_bytes(answers.read_bytes()[:-1] + b"\x01")
    assert cli("release", "drift", folders[0], changed).code == 4
