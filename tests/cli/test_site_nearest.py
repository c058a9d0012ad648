"""`fedloom site nearest`: for the steward alone."""

from __future__ import annotations

import stat
from pathlib import Path

import pandas as pd
import pytest

from fedloom.privacy.ledger import read_ledger
from tests.federation import cli, make, table
from tests.stewards import init


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nearest")
    federation = make(folder / "study", "tree", rows=500)
    assert federation.simulate(folder / "run").code == 0
    assert cli("release", "build", folder / "run", "--out", folder / "release").code == 0
    return folder / "release"


def test_rows_and_their_nearest_are_shown_and_nothing_is_charged(release, tmp_path):
    home = init(tmp_path, "north", rows=300)
    before = read_ledger(home).head
    pairs = tmp_path / "pairs.csv"
    done = cli("site", "nearest", release, "--home", home, "--pairs", pairs)
    assert done.code == 0 and done.out.startswith("PRIVATE")
    assert read_ledger(home).head == before
    assert stat.S_IMODE(pairs.stat().st_mode) == 0o600
    rows = pd.read_csv(pairs)
    assert set(rows["record"]) == {"own", "synthetic"}
    assert {"age", "sex", "visited"} <= set(rows.columns)
    own = rows[rows["record"] == "own"]
    mine = table(300).astype(object)
    whole = {tuple(map(str, row)) for row in mine.fillna("nan").to_numpy()}
    for row in own[["age", "sex", "visited"]].itertuples(index=False):
        age = "nan" if pd.isna(row.age) else str(int(row.age))
        assert (age, row.sex, row.visited) in whole
    as_json = cli("site", "nearest", release, "--home", home, "--json").json
    assert 0.0 <= as_json["nearer"] <= 1.0 and as_json["looked_at"] == 300


def test_pairs_of_rows_are_no_picture(release, tmp_path):
    home = init(tmp_path, "north", rows=300)
    pairs = tmp_path / "pairs.png"
    assert cli("site", "nearest", release, "--home", home, "--pairs", pairs).code == 2
    assert not pairs.exists()
