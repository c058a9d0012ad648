"""Counts of items: what a record adds at the most, the layout, what may not be asked."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest

from fedloom.common.column import Column
from fedloom.common.encoding import Encoding
from fedloom.common.errors import ConfigError
from fedloom.common.marginals import groups_of_one
from fedloom.common.schema import Schema
from fedloom.common.set_marginals import (
    MOST_FREQUENT,
    ItemCounts,
    ItemPairs,
    NoisyItemPairs,
    NoisyItems,
    item_codes,
    item_pair_cells,
)
from fedloom.common.statistic_kinds import statistic_kind

ENCODING = Encoding(
    Schema(
        (
            Column("n", "integer", minimum=0, maximum=2),
            # Counted with 1 alone: seven items are more than three times two.
            Column("s", "set", values=tuple("abcdefg"), maximum=2),
            # Counted with 1 and -1.
            Column("u", "set", values=tuple("xyz"), maximum=1),
            Column("t", "category", values=("0", "1")),
        )
    ),
    "t",
)
GROUPS = np.minimum(groups_of_one(ENCODING), 1).astype(np.int32)
FREQUENT = np.array([1, 0, 1, 1, 0, 0, 1, 0, 1, 1], dtype=np.int32)
CODES = {name: 1 if name in "abcdefg" else 2 for name in "abcdefgxyz"}


def every_record() -> pd.DataFrame:
    """Returns one record of each kind that there can be."""
    sets = ["|".join(part) for size in range(3) for part in itertools.combinations("abcdefg", size)]
    rows = itertools.product(range(3), sets, ["", *"xyz"], ["0", "1"])
    return pd.DataFrame(rows, columns=["n", "s", "u", "t"])


def value(name: str, held: set[str]) -> int:
    """Returns what a record adds for an item: 1 or 0, or 1 or -1."""
    return CODES[name] * (name in held) - (CODES[name] - 1)


def coded(frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    found = ENCODING.coded(frame)
    return found.features, found.classes


def test_no_record_adds_more_than_the_norm_and_some_record_adds_as_much():
    features, classes = coded(every_record())
    every = np.ones(10, dtype=np.int32)
    for measured in (ItemCounts(ENCODING), ItemPairs(ENCODING, GROUPS, every)):
        norms = [
            np.linalg.norm(measured.sum(features[i : i + 1], classes[i : i + 1]))
            for i in range(len(features))
        ]
        assert max(norms) == pytest.approx(measured.l2_norm)


def test_norms_have_their_closed_forms():
    assert ItemCounts(ENCODING).l2_norm == pytest.approx(math.sqrt(2 + 1))
    pairs = ItemPairs(ENCODING, GROUPS, FREQUENT)
    # Two frequent items of the first set at the most, and all three of the second.
    assert pairs.l2_norm**2 == pytest.approx(3 + 5 * 3 + 5 * 4 / 2)
    assert item_codes(ENCODING).tolist() == list(CODES.values())
    # Which items are frequent, and the groups, do not move it.
    other = ItemPairs(ENCODING, groups_of_one(ENCODING), 0 * FREQUENT)
    assert other.l2_norm == pairs.l2_norm


def test_a_neighbour_changes_the_sum_by_its_own_ones_alone():
    frame = every_record().sample(40, random_state=1, replace=True)
    features, classes = coded(frame)
    measured = ItemPairs(ENCODING, GROUPS, FREQUENT)
    for row in range(len(frame)):
        others = np.arange(len(frame)) != row
        change = measured.sum(features, classes) - measured.sum(features[others], classes[others])
        own = measured.sum(features[[row]], classes[[row]])
        np.testing.assert_array_equal(change, own)
        assert np.linalg.norm(change) <= measured.l2_norm + 1e-12


def test_counts_are_those_of_a_plain_loop():
    frame = every_record().sample(200, random_state=2, replace=True)
    features, classes = coded(frame)
    measured = ItemPairs(ENCODING, GROUPS, FREQUENT)
    sums = measured.sum(features, classes)
    names = list(CODES)
    frequent = [name for name, chosen in zip(names, FREQUENT, strict=True) if chosen]
    sets = [set(s.split("|")) | {u} - {""} for s, u in zip(frame["s"], frame["u"], strict=True)]
    counts = ItemCounts(ENCODING).sum(features, classes)
    assert counts.tolist() == [sum(name in held for held in sets) for name in names]
    for label in (0, 1):
        mine = [
            (held, row) for held, row, c in zip(sets, features, classes, strict=True) if c == label
        ]
        alone = [sum(name in held for held, _ in mine) for name in names]
        assert measured.alone(sums, label).tolist() == alone
        for feature, (block, table) in enumerate(
            zip(ENCODING.features, measured.tables(sums, label), strict=True)
        ):
            for place, name in enumerate(frequent):
                expected = np.zeros(table.shape[1])
                for held, row in mine:
                    expected[GROUPS[block.start + row[feature]]] += value(name, held)
                np.testing.assert_array_equal(table[place], expected)
        together = measured.together(sums, label)
        for one, other in itertools.combinations(range(len(frequent)), 2):
            names_of = frequent[one], frequent[other]
            found = [value(names_of[0], held) * value(names_of[1], held) for held, _ in mine]
            assert together[one, other] == sum(found)


@pytest.mark.parametrize("rows", [0, 20])
def test_where_no_item_is_frequent_items_are_counted_alone(rows):
    features, classes = coded(every_record()[:rows])
    measured = ItemPairs(ENCODING, GROUPS, 0 * FREQUENT)
    sums = measured.sum(features, classes)
    assert len(sums) == measured.length == 10 * ENCODING.num_classes
    assert measured.together(sums, 0).shape == (0, 0)
    assert [table.shape[0] for table in measured.tables(sums, 0)] == [0] * 3
    full = ItemPairs(ENCODING, GROUPS, FREQUENT).sum(features, classes)
    assert len(full) == ItemPairs(ENCODING, GROUPS, FREQUENT).length


def many(items: int) -> Encoding:
    column = Column("s", "set", values=tuple(f"i{i}" for i in range(items)), maximum=20)
    return Encoding(Schema((column, Column("x", "category", values=("0", "1")))))


def test_a_record_with_more_items_than_may_be_frequent_is_priced_by_those():
    encoding = many(30)
    pairs = ItemPairs(encoding, groups_of_one(encoding), np.zeros(30))
    expected = 20 + MOST_FREQUENT * 2 + MOST_FREQUENT * (MOST_FREQUENT - 1) / 2
    assert pairs.l2_norm**2 == pytest.approx(expected)


@pytest.mark.parametrize(
    "changes",
    [
        {"frequent": np.arange(30, dtype=np.int32) % 3},
        {"frequent": -(np.arange(30) < 3).astype(np.int32)},
        {"frequent": (np.arange(30) <= MOST_FREQUENT).astype(np.int32)},
        {"frequent": np.zeros(29, dtype=np.int32)},
        {"frequent": np.zeros(30)},
        {"groups": groups_of_one(many(30)) + np.int32(1)},
        {"more": np.zeros(30, dtype=np.int32)},
    ],
)
def test_a_request_that_asks_for_more_than_was_priced_is_refused(changes):
    encoding, kind = many(30), statistic_kind("item-pairs")
    arrays = {
        "groups": groups_of_one(encoding),
        "frequent": (np.arange(30) < MOST_FREQUENT).astype(np.int32),
    }
    kind.check_arrays(encoding, arrays, 10**6)
    with pytest.raises(ConfigError):
        kind.check_arrays(encoding, arrays | changes, 10**6)


def test_a_request_of_more_cells_than_the_plan_allows_is_refused():
    kind, sizes = statistic_kind("item-pairs"), tuple(np.bincount([0, 0, 1, 1, 2, 2]))
    arrays = {"groups": GROUPS, "frequent": FREQUENT}
    cells = item_pair_cells(ENCODING, sizes, 6)
    assert cells == ItemPairs(ENCODING, GROUPS, FREQUENT).length
    kind.check_arrays(ENCODING, arrays, cells)
    with pytest.raises(ConfigError):
        kind.check_arrays(ENCODING, arrays, cells - 1)


def test_sums_of_another_layout_are_refused():
    measured = ItemPairs(ENCODING, GROUPS, FREQUENT)
    pairs = NoisyItemPairs(measured=measured, sums=np.zeros(measured.length), std=1.0)
    NoisyItems(counts=np.zeros(10), std=1.0, pairs=pairs).check(ENCODING, GROUPS)
    for counts, sums, groups in (
        (np.zeros(6), pairs.sums, GROUPS),
        (np.full(10, np.nan), pairs.sums, GROUPS),
        (np.zeros(10), pairs.sums[:-1], GROUPS),
        (np.zeros(10), pairs.sums, None),
    ):
        noisy = NoisyItems(
            counts=counts, std=1.0, pairs=NoisyItemPairs(measured=measured, sums=sums, std=1.0)
        )
        with pytest.raises(ConfigError):
            noisy.check(ENCODING, groups)
