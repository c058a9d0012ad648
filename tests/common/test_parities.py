"""The parity look: what a record adds, the sums, and what a request may not ask."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedloom.common.encoding import Encoding
from fedloom.common.errors import ConfigError
from fedloom.common.parities import (
    Parities,
    class_signs,
    odd_rows,
    parity_rows,
    parity_sets,
    parity_sums,
)
from fedloom.common.schema import Column, Schema
from fedloom.common.statistic_kinds import statistic_kind


def encoding_of(classes: int, columns: int = 6) -> Encoding:
    parts = [Column(f"c{n}", "integer", minimum=0, maximum=5) for n in range(columns)]
    label = Column("t", "category", values=tuple(map(str, range(classes))))
    return Encoding(Schema((*parts, label)), "t")


def halves_of(encoding: Encoding) -> np.ndarray:
    cells = [np.arange(block.size) >= 2 for block in encoding.features]
    return np.concatenate(cells).astype(np.int32)


def records(encoding: Encoding, rows: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    codes = np.stack([rng.integers(0, block.size, rows) for block in encoding.features], axis=1)
    return codes.astype(np.int32), rng.integers(0, encoding.num_classes, rows)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("seed", range(5))
def test_any_added_record_changes_one_sum_of_each_set_by_one(classes, seed):
    encoding = encoding_of(classes)
    look = Parities(encoding, halves_of(encoding))
    codes, labels = records(encoding, 50, seed)
    change = look.sum(codes, labels) - look.sum(codes[:-1], labels[:-1])
    sets = math.comb(6, 3) + math.comb(6, 4) + math.comb(6, 5)
    assert look.l2_norm**2 == pytest.approx(sets) and look.length == len(look.signs) * sets
    added = int(encoding.class_sampleable[labels[-1]])
    assert (np.abs(change.reshape(len(look.signs), sets)).sum(axis=0) == added).all()


@pytest.mark.parametrize("classes", [2, 3])
def test_sums_are_products_of_signs_written_out_one_by_one(classes):
    encoding = encoding_of(classes, columns=5)
    halves = halves_of(encoding)
    look = Parities(encoding, halves)
    codes, labels = records(encoding, 9000)
    starts = np.array([block.start for block in encoding.features])
    signs = 1 - 2 * halves[starts + codes]
    expected = [
        [(of[labels] * signs[:, list(columns)].prod(axis=1)).sum() for columns in look.sets]
        for of in class_signs(encoding.class_sampleable)
    ]
    np.testing.assert_array_equal(look.sum(codes, labels), np.concatenate(expected))


def test_a_label_that_is_a_parity_has_the_whole_table_in_the_sum_of_its_set():
    encoding = Encoding(
        Schema(
            (
                *(Column(f"c{n}", "category", values=("a", "b")) for n in range(6)),
                Column("t", "category", values=("0", "1")),
            )
        ),
        "t",
    )
    halves = np.concatenate(
        [np.minimum(np.arange(block.size), 1) for block in encoding.features]
    ).astype(np.int32)
    codes = np.random.default_rng(3).integers(0, 2, (4000, 6)).astype(np.int32)
    look = Parities(encoding, halves)
    sums = look.sum(codes, codes[:, [0, 2, 3, 5]].sum(axis=1) % 2)
    found = dict(zip(look.sets, np.abs(sums), strict=True))
    assert found.pop((0, 2, 3, 5)) == 4000
    assert max(found.values()) < 5 * math.sqrt(4000)


@pytest.mark.parametrize(
    "columns, orders",
    [(3, ()), (4, (3, 4)), (14, (3, 4, 5)), (22, (3, 4, 5)), (31, (3, 4)), (63, (3,)), (64, ())],
)
def test_which_sets_are_asked_for_follows_from_the_number_of_columns(columns, orders):
    sets = parity_sets(columns, 1)
    assert len(sets) == sum(math.comb(columns, order) for order in orders) <= 40_000
    assert sorted({len(part) for part in sets}) == sorted(set(orders))
    assert len(set(sets)) == len(sets) and all(sorted(part) == list(part) for part in sets)


@pytest.mark.parametrize(
    "columns, rows, orders",
    [
        (22, 56, (3, 4, 5)),
        (22, 57, (3, 4)),
        (22, 225, (3, 4)),
        (22, 300, (3,)),
        (63, 50, (3,)),
        (63, 51, ()),
        (5, 1_000, (3, 4, 5)),
        (5, 1_001, ()),
    ],
)
def test_many_classes_with_sums_of_their_own_leave_sizes_out(columns, rows, orders):
    sets = parity_sets(columns, rows)
    assert len(sets) == sum(math.comb(columns, order) for order in orders)
    assert len(sets) * rows <= 2_000_000


@pytest.mark.parametrize("sampleable", [[True], [True] * 2, [True] * 5, [True, False, True]])
def test_rows_are_told_without_making_them(sampleable):
    assert parity_rows(sampleable) == len(class_signs(sampleable))


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_weighted_sums_are_those_of_even_less_odd_rows(seed):
    rng = np.random.default_rng(seed)
    halves, weights = rng.integers(0, 2, (5, 40)), rng.random(40)
    sets = tuple(itertools.combinations(range(5), 4))
    signs = 1.0 - 2.0 * odd_rows(halves, sets)
    np.testing.assert_allclose(parity_sums(halves, weights, sets), signs @ weights, atol=1e-4)


@pytest.mark.parametrize("change", ["longer", "int64", "gap", "third"])
def test_halves_that_are_none_are_refused(change):
    encoding = encoding_of(2)
    good = halves_of(encoding)
    kind = statistic_kind("parities")
    kind.check_arrays(encoding, {"halves": good}, 10**6)
    bad = {
        "longer": np.append(good, 0).astype(np.int32),
        "int64": good.astype(np.int64),
        "gap": np.ones_like(good),
        "third": np.where(np.arange(len(good)) == 5, 2, good).astype(np.int32),
    }[change]
    with pytest.raises(ConfigError):
        kind.check_arrays(encoding, {"halves": bad}, 10**6)
