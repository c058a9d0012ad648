from __future__ import annotations

import stat

import numpy as np
import pandas as pd
import pytest

from fedloom.client.records import freeze, load_records
from fedloom.common.errors import DataError, LedgerError
from tests.federation import make_home, make_plan, table


@pytest.fixture
def home(tmp_path):
    return make_home(tmp_path / "home")


@pytest.fixture
def plan(tmp_path, home):
    return make_plan(tmp_path / "study", {"north": home})


def test_frozen_records_come_back_as_they_were_encoded(home, plan):
    frame = table(50)
    records = load_records(home, plan, freeze(home, plan, frame))
    codes = plan.encoding.encode(frame).codes
    assert np.array_equal(records.feature_codes, plan.encoding.feature_codes(codes))
    assert np.array_equal(records.classes, plan.encoding.classes(codes))
    for path in home.snapshots.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_empty_table_is_frozen_and_read(home, plan):
    records = load_records(home, plan, freeze(home, plan, table(50).iloc[:0]))
    assert records.feature_codes.shape == (0, 2) and records.classes.shape == (0,)


def test_the_commitment_does_not_tell_which_table_it_was(home, plan):
    assert freeze(home, plan, table(50)) != freeze(home, plan, table(50))


@pytest.mark.parametrize("target", ["snapshot", "salt"])
def test_one_changed_byte_is_found(home, plan, target):
    commitment = freeze(home, plan, table(50))
    path = {"snapshot": home.snapshot_path, "salt": home.salt_path}[target](plan.digest())
    data = bytearray(path.read_bytes())
    data[-4] = ord("1") if data[-4] != ord("1") else ord("2")
    path.write_bytes(data)
    with pytest.raises(LedgerError, match="approve it again"):
        load_records(home, plan, commitment)


def test_missing_records_are_named(home, plan):
    commitment = freeze(home, plan, table(50))
    home.snapshot_path(plan.digest()).unlink()
    with pytest.raises(LedgerError, match="missing"):
        load_records(home, plan, commitment)


def test_counts_of_what_did_not_fit_go_to_the_private_log_alone(home, plan):
    frame = table(50)
    frame["age"] = pd.array([77] * 50, dtype="Int64")
    freeze(home, plan, frame)
    assert "column age: 50 values clamped" in (home.path / "private.log").read_text()
    assert b"clamped" not in home.snapshot_path(plan.digest()).read_bytes()


def test_a_missing_column_is_an_error_that_names_it(home, plan):
    with pytest.raises(DataError, match="sex"):
        freeze(home, plan, table(50).drop(columns="sex"))
