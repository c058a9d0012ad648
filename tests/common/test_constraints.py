"""Which records break a constraint: on raw tables, with gaps, special and unreadable values."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from fedloom.common.constraints import combination_ids, violations
from fedloom.common.schema import Column, Schema
from fedloom.common.schema_constraint import Constraint


@pytest.fixture
def schema():
    return Schema(
        (
            Column("a", "integer", minimum=0, maximum=9, special=(-1,), nullable=True),
            Column("b", "integer", minimum=0, maximum=9),
            Column("s", "category", values=("1", "2"), other="rest"),
            Column("t", "category", values=("x", "y"), nullable=True),
        ),
        (
            Constraint("order", ("a", "b"), strict=True),
            Constraint("fixed-combinations", ("s", "t"), rows=(("1", "x"), ("rest", "y"))),
        ),
    )


def test_violations_are_counted_by_constraint(schema):
    """The first four rows keep both, the next three break the first, the last three the second."""
    frame = pd.DataFrame(
        {
            "a": ["1", None, "what?", -1, 3, "5", 9, 1, 1, 1],
            "b": [2, 0, 3, 0, 3, "4", "-1", 2, 2, 2],
            "s": [1.0, "7", "1", "1", 1, 1, 1, 2, 1, "9"],
            "t": ["x", "y", None, "nowhere", "x", "x", "x", "x", "y", "x"],
        }
    )
    assert violations(frame, schema) == {"a < b": 3, "combinations of s, t": 3}


def test_there_are_none_without_constraints(schema):
    assert violations(pd.DataFrame({"a": [1]}), Schema(schema.columns)) == {}


@pytest.mark.parametrize("seed", range(5))
def test_combinations_are_found_as_by_comparing_every_pair(seed):
    rng = np.random.default_rng(seed)
    everything = list(itertools.product(range(4), range(3), range(5)))
    chosen = [everything[i] for i in rng.choice(60, size=17, replace=False)]
    columns = tuple(Column(name, "integer", minimum=0, maximum=9) for name in ("a", "b", "c"))
    rule = Constraint("fixed-combinations", ("a", "b", "c"), rows=tuple(chosen))
    schema = Schema(columns, (rule,))
    rows = schema.constraints[0].rows
    found = combination_ids(
        schema.constraints[0], schema, list(np.array(everything, dtype=float).T)
    )
    wanted = [rows.index(row) if row in rows else -1 for row in everything]
    assert found.tolist() == wanted
