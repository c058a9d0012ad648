"""Columns within classes on groups: what a record adds, the layout, what may not be asked."""

from __future__ import annotations

import numpy as np
import pytest

from fedloom.common.class_column_marginals import ClassColumnMarginals, check_class_groups
from fedloom.common.encoding import Encoding
from fedloom.common.errors import ConfigError
from fedloom.common.schema import Column, Schema
from fedloom.common.statistic_kinds import statistic_kind

ENCODING = Encoding(
    Schema(
        (
            *(Column(name, "integer", minimum=0, maximum=5) for name in "abc"),
            Column("t", "category", values=("0", "1", "2")),
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
    return codes.astype(np.int32), rng.integers(0, 3, rows)


def test_any_added_record_changes_exactly_as_many_cells_by_one_as_the_norm_says():
    measured = ClassColumnMarginals(ENCODING, GROUPS)
    codes, classes = records(100)
    change = measured.sum(codes, classes) - measured.sum(codes[:-1], classes[:-1])
    assert measured.l2_norm**2 == pytest.approx(len(ENCODING.features))
    assert sorted(change[change != 0]) == [1] * len(ENCODING.features)


def test_blocks_hold_the_counts_of_their_groups_within_classes():
    measured = ClassColumnMarginals(ENCODING, GROUPS)
    codes, classes = records(500)
    blocks = measured.blocks(measured.sum(codes, classes))
    grouped = np.minimum(codes // 2, 2)
    for position, counts in enumerate(blocks):
        expected = np.zeros((ENCODING.num_classes, measured.sizes[position]))
        np.add.at(expected, (classes, grouped[:, position]), 1)
        np.testing.assert_array_equal(counts, expected)


def test_a_request_is_bounded():
    length = ClassColumnMarginals(ENCODING, GROUPS).length
    check_class_groups(ENCODING, GROUPS, length)
    with pytest.raises(ConfigError):
        check_class_groups(ENCODING, GROUPS, length - 1)


@pytest.mark.parametrize("groups", [GROUPS.astype(np.int64), GROUPS[:-1], GROUPS + 1])
def test_groups_that_are_none_are_refused(groups):
    with pytest.raises(ConfigError):
        statistic_kind("class-columns").check_arrays(ENCODING, {"groups": groups}, 10**6)
