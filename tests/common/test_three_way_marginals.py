"""Triples of coarse groups: what a record adds, the layout, and what a request may not ask."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from fedloom.common.encoding import Encoding
from fedloom.common.errors import ConfigError
from fedloom.common.schema import Column, Schema
from fedloom.common.statistic_kinds import statistic_kind
from fedloom.common.three_way_marginals import ThreeWayMarginals, check_coarse_groups

ENCODING = Encoding(
    Schema(
        (
            *(Column(name, "integer", minimum=0, maximum=5) for name in "abcd"),
            Column("t", "category", values=("0", "1")),
        )
    ),
    "t",
)
GROUPS = np.concatenate(
    [np.minimum(np.arange(block.size) // 2, 2) for block in ENCODING.features]
).astype(np.int32)


def records(rows: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    codes = np.stack([rng.integers(0, block.size, rows) for block in ENCODING.features], axis=1)
    return codes.astype(np.int32), rng.integers(0, 2, rows)


def test_any_added_record_changes_exactly_as_many_cells_by_one_as_the_norm_says():
    measured = ThreeWayMarginals(ENCODING, GROUPS)
    codes, classes = records(100)
    change = measured.sum(codes, classes) - measured.sum(codes[:-1], classes[:-1])
    assert measured.l2_norm**2 == pytest.approx(math.comb(4, 3))
    assert sorted(change[change != 0]) == [1] * math.comb(4, 3)


def test_tables_hold_the_counts_of_their_columns():
    measured = ThreeWayMarginals(ENCODING, GROUPS)
    codes, classes = records(500)
    rows = measured.sum(codes, classes).reshape(ENCODING.num_classes, -1)
    grouped = np.minimum(codes // 2, 2)
    for label in range(2):
        for columns, table in measured.tables.split(rows[label]):
            expected = np.zeros((3, 3, 3))
            np.add.at(expected, tuple(grouped[classes == label][:, list(columns)].T), 1)
            np.testing.assert_array_equal(table, expected)
    order = tuple(columns for columns, _ in measured.tables.split(rows[0]))
    assert order == tuple(itertools.combinations(range(4), 3))


def test_a_request_is_bounded_before_anything_is_laid_out():
    length = ThreeWayMarginals(ENCODING, GROUPS).length
    check_coarse_groups(ENCODING, GROUPS, length)
    with pytest.raises(ConfigError):
        check_coarse_groups(ENCODING, GROUPS, length - 1)


@pytest.mark.parametrize(
    "groups", [GROUPS.astype(np.int64), GROUPS[:-1], GROUPS + 1, np.where(GROUPS == 1, 3, GROUPS)]
)
def test_groups_that_are_none_are_refused(groups):
    with pytest.raises(ConfigError):
        statistic_kind("three-way").check_arrays(ENCODING, {"groups": groups}, 10**6)
