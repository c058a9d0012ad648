"""A steward's look at the synthetic records that lie nearest to the own ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import fedloom
from fedloom.client.nearest import nearest
from fedloom.common.encoding import Encoding
from fedloom.common.errors import DataError
from fedloom.common.positions import table_positions
from fedloom.common.study import load_study
from fedloom.privacy.plan import Plan
from fedloom.privacy.resolve import resolve_plan

SCHEMA = """
[[column]]
name = "height"
kind = "real"
min = 0.0
max = 1.0
nullable = true

[[column]]
name = "weight"
kind = "real"
min = 0.0
max = 1.0

[[column]]
name = "town"
kind = "category"
values = ["a", "b", "c"]

[[column]]
name = "drugs"
kind = "set"
values = ["w", "x", "y", "z"]
max_items = 2
separator = "|"
"""


def plan_of(folder: Path, unit: str = "") -> Plan:
    (folder / "schema.toml").write_text(SCHEMA)
    (folder / "study.toml").write_text(
        '[study]\nname = "tiny"\nschema = "schema.toml"\ntarget = "town"\n'
        f'[privacy]\nepsilon = 1.0\ndelta = 1e-5\n{unit}[[site]]\nname = "north"\n'
    )
    return resolve_plan(*load_study(folder / "study.toml"), version=fedloom.__version__)


def people(rows: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    height = rng.random(rows)
    return pd.DataFrame(
        {
            "height": height,
            "weight": np.clip(height + rng.normal(0, 0.2, rows), 0, 1),
            "town": rng.choice(["a", "b", "c"], rows),
            "drugs": rng.choice(["", "w", "x|y", "z"], rows),
        }
    )


def test_new_records_are_nearest_in_half_of_the_cases(tmp_path):
    found = nearest(people(1200, 1), people(1500, 2), plan_of(tmp_path))
    assert (found.looked_at, found.among) == (1200, 1199)
    # A failure by chance is rarer than one in a million.
    assert abs(found.nearer - 0.5) < 6 * found.error and not found.suspicious


def test_a_generator_that_repeats_records_is_seen(tmp_path):
    own = people(1200, 1)
    made = pd.concat([own.iloc[:400], people(800, 2)])
    found = nearest(own, made, plan_of(tmp_path))
    assert found.suspicious
    assert found.same_as_made > 0.3 > found.same_as_own
    for pair in found.pairs:
        assert pair.same and pair.distance < 1e-6 < pair.to_own
        assert own.iloc[pair.own].equals(made.iloc[pair.made])


def test_records_drawn_from_elsewhere_are_seldom_nearest(tmp_path):
    far = people(1200, 2).assign(height=0.0, weight=1.0)
    assert nearest(people(1200, 1), far, plan_of(tmp_path)).nearer < 0.2


def test_rows_of_one_person_do_not_count_as_each_others_neighbours(tmp_path):
    plan = plan_of(tmp_path, 'unit = "person"\nid = "patient"\nrows_per_person = 3\n')
    once = people(600, 1).assign(patient=np.arange(600))
    thrice = pd.concat([once] * 3, ignore_index=True)
    made = people(600, 2)
    assert nearest(thrice, made, plan).same_as_own == nearest(once, made, plan).same_as_own < 0.1
    nobody = thrice.assign(patient=[None] * 1780 + list(range(20)))
    with pytest.raises(DataError):
        nearest(nobody, made, plan)


def test_distances_are_sums_over_columns(tmp_path):
    coder = plan_of(tmp_path).coder
    assert isinstance(coder, Encoding)
    frame = pd.DataFrame(
        {
            "height": [0.0, 1.0, None, 0.0, 0.0],
            "weight": [0.5] * 5,
            "town": ["a", "a", "a", "b", "a"],
            "drugs": ["w|x", "w|x", "w|x", "w|x", "w|y"],
        }
    )
    at = table_positions(coder, coder.coded(frame))
    squares = ((at[0] - at) ** 2).sum(axis=1)
    # Itself; the whole axis; missing against the end of the axis; another class; an item each.
    np.testing.assert_allclose(squares, [0.0, 1.0, 1.0, 1.0, 0.5])
