"""Which table tells a column alone, and what its cells are worth there."""

from __future__ import annotations

import numpy as np
import pytest

from fedloom.common.column_marginals import ColumnMarginals
from fedloom.common.encoding import Encoding
from fedloom.common.marginals import NoisyMarginals, TwoWayMarginals
from fedloom.common.schema import Column, Schema
from fedloom.privacy.inference.counted import CountedTables

VALUES, ROWS, STD = 264, 20_000, 5.0


@pytest.fixture(scope="module")
def tables() -> CountedTables:
    """A fine axis in its own look, and a pair in which its cells are 21 groups."""
    schema = Schema(
        (
            Column("x", "integer", minimum=0, maximum=VALUES - 1, bins=VALUES, nullable=True),
            Column("d", "category", values=("a", "b")),
            Column("y", "category", values=("0", "1")),
        )
    )
    encoding, rng = Encoding(schema, "y"), np.random.default_rng(3)
    x, d = encoding.features
    beside = x.size - VALUES
    axis = np.arange(VALUES) * 20 // VALUES
    groups = np.concatenate([axis, np.full(beside, 20), np.minimum(np.arange(d.size), 1)])
    codes = np.stack([rng.integers(0, VALUES, ROWS), rng.integers(0, 2, ROWS)], axis=1)
    codes, labels = codes.astype(np.int32), rng.integers(0, 2, ROWS)
    columns, pairs = ColumnMarginals(encoding), TwoWayMarginals(encoding, groups.astype(np.int32))
    return CountedTables(
        NoisyMarginals(
            encoding=encoding,
            look=columns.sum(codes, labels) + rng.normal(0, STD, columns.length),
            look_std=STD,
            groups=groups.astype(np.int32),
            pairs=pairs.sum(codes, labels) + rng.normal(0, STD, pairs.length),
            pair_std=STD,
            by_class=False,
        )
    )


def test_a_column_alone_is_told_by_its_own_look_however_many_groups_a_pair_has(tables):
    found = tables.tables[tables.finest("x")]
    pair = next(table for table in tables.tables if {"x", "d"} <= set(table.columns))
    assert found.columns == ("x",)
    assert found.counts.size < pair.counts.shape[pair.axis("x")], "the case to be told apart"


def test_cells_that_share_a_group_share_its_part(tables, monkeypatch):
    """Read from the pair instead, all cells still make up one whole."""
    pair = next(n for n, table in enumerate(tables.tables) if {"x", "d"} <= set(table.columns))
    monkeypatch.setattr(tables, "finest", lambda column: pair)
    monkeypatch.setattr(tables, "_shares", {})
    assert tables.shares("x").sum() == pytest.approx(1.0)
