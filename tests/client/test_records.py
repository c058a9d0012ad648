from __future__ import annotations

import stat

import msgspec
import numpy as np
import pandas as pd
import pytest
import scipy.stats

from fedloom.client.records import freeze, holds_same, id_column, load_records
from fedloom.common.errors import DataError, LedgerError
from fedloom.common.study import EvaluationSettings
from fedloom.privacy.phases.evaluation import draft_evaluation
from fedloom.privacy.plan import Plan
from fedloom.privacy.resolve import replaced
from tests.federation import make_home, make_plan, table


@pytest.fixture
def home(tmp_path):
    return make_home(tmp_path / "home")


@pytest.fixture
def plan(tmp_path, home):
    return make_plan(tmp_path / "study", {"north": home})


def changed(plan: Plan, *, hold_back: float | None = None, **privacy) -> Plan:
    settings = msgspec.structs.replace(plan.privacy, **privacy)
    if hold_back is None:
        return replaced(plan, privacy=settings)
    evaluation = EvaluationSettings(share=0.5, hold_back=hold_back)
    draft = draft_evaluation(evaluation, plan.encoding, settings, len(plan.sites))
    halves = [msgspec.structs.replace(phase, share=phase.share / 2) for phase in plan.phases]
    return replaced(plan, privacy=settings, phases=(*halves, draft.at(2.0)))


@pytest.fixture
def of_persons(plan):
    return changed(plan, unit="person", id="patient", rows_per_person=2)


def patients(rows: int = 60) -> pd.DataFrame:
    """Twenty people with three rows each."""
    frame = table(rows)
    frame.insert(1, "patient", [f"p{number % 20}" for number in range(rows)])
    return frame


def test_frozen_records_come_back_as_they_were_encoded(home, plan):
    frame = table(50)
    snapshot = load_records(home, plan, freeze(home, plan, frame))
    codes = plan.encoding.encode(frame).codes
    assert np.array_equal(snapshot.training.features, plan.encoding.feature_codes(codes))
    assert np.array_equal(snapshot.training.classes, plan.encoding.classes(codes))
    assert snapshot.training.persons is None and len(snapshot.held_back.classes) == 0
    for path in home.snapshots.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_empty_table_is_frozen_and_read(home, plan):
    snapshot = load_records(home, plan, freeze(home, plan, table(50).iloc[:0]))
    for records in (snapshot.training, snapshot.held_back):
        assert records.features.shape == (0, 2) and records.classes.shape == (0,)


def test_an_empty_table_of_persons_is_frozen_and_read(home, of_persons):
    snapshot = load_records(home, of_persons, freeze(home, of_persons, patients().iloc[:0]))
    assert snapshot.training.persons.shape == snapshot.held_back.persons.shape == (0,)


def test_rows_are_grouped_by_person_and_capped(home, of_persons):
    records = load_records(home, of_persons, freeze(home, of_persons, patients())).training
    assert id_column(of_persons) == "patient"
    assert np.array_equal(records.persons, np.repeat(np.arange(20), 2))
    log = (home.path / "private.log").read_text()
    assert "column patient: 20 rows beyond rows_per_person left out" in log


def test_neither_ids_nor_their_order_are_in_the_home(home, of_persons):
    freeze(home, of_persons, patients().replace({"patient": {"p7": "unmistakable"}}))
    for path in home.path.rglob("*"):
        assert path.is_dir() or b"unmistakable" not in path.read_bytes()


def test_rows_without_an_id_are_left_out_and_told_to_the_log(home, of_persons):
    frame = patients()
    frame["patient"] = frame["patient"].where(frame["patient"] != "p7")
    records = load_records(home, of_persons, freeze(home, of_persons, frame)).training
    assert records.persons.max() == 18
    assert "3 rows without an id left out" in (home.path / "private.log").read_text()


def test_the_same_table_is_known_in_any_order_and_another_is_not(home, of_persons):
    frame = patients()
    commitment = freeze(home, of_persons, frame)
    assert holds_same(home, of_persons, commitment, frame.sample(frac=1, random_state=3))
    renamed = frame.replace({"patient": {"p7": "p77"}})
    assert not holds_same(home, of_persons, commitment, renamed)
    assert not holds_same(home, of_persons, commitment, frame[frame["patient"] != "p7"])


@pytest.mark.parametrize("unit", ["record", "person"])
def test_each_unit_is_held_back_by_a_coin_of_its_own(home, plan, unit):
    """Binomial at 0.001 on 2,000 units: one honest run in 1000 fails."""
    more = {"unit": unit, "id": "patient", "rows_per_person": 2} if unit == "person" else {}
    split = changed(plan, hold_back=0.3, **more)
    frame = table(2000 if unit == "record" else 4000)
    frame["patient"] = [f"p{number // 2}" for number in range(len(frame))]
    snapshot = load_records(home, split, freeze(home, split, frame))
    parts = (snapshot.training, snapshot.held_back)
    assert sum(len(part.classes) for part in parts) == len(frame)
    units = [len(part.classes) if unit == "record" else part.persons[-1] + 1 for part in parts]
    assert sum(units) == 2000
    assert scipy.stats.binomtest(units[1], 2000, 0.3).pvalue > 1e-3
    for part in parts if unit == "person" else ():
        assert np.array_equal(part.persons, np.repeat(np.arange(part.persons[-1] + 1), 2))


def test_a_person_is_held_back_whole(home, of_persons):
    split = changed(of_persons, hold_back=0.5)
    frame = patients()
    frame["age"] = [number % 20 // 2 for number in range(60)]  # two people a year of age
    frame["sex"] = ["female" if number % 2 else "male" for number in range(60)]  # of two sexes
    snapshot = load_records(home, split, freeze(home, split, frame))
    seen = [
        {tuple(row) for row in part.features.tolist()}
        for part in (snapshot.training, snapshot.held_back)
    ]
    assert not seen[0] & seen[1] and len(seen[0] | seen[1]) == 20


def test_coins_are_tossed_once_and_kept(home, plan):
    split = changed(plan, hold_back=0.5)
    commitment = freeze(home, split, table(50))
    first, second = (load_records(home, split, commitment) for _ in range(2))
    assert np.array_equal(first.held_back.features, second.held_back.features)
    assert holds_same(home, split, commitment, table(50))


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


def test_a_missing_id_column_is_an_error_that_names_it(home, of_persons):
    with pytest.raises(DataError, match="'patient', the persons' ids"):
        freeze(home, of_persons, table(50))
