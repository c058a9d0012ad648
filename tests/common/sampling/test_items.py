"""Items are drawn so that number and items agree, none twice, each at its rate."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedloom.common.column import Column
from fedloom.common.encoding import Encoding
from fedloom.common.sampling.items import ItemFiller, inclusion_chances, systematic
from fedloom.common.schema import Schema

VALUES = tuple(f"i{number}" for number in range(8))


def encoding(most: int = 4) -> Encoding:
    return Encoding(
        Schema(
            (
                Column("s", "set", values=VALUES, maximum=most, nullable=True),
                Column("x", "category", values=("0", "1")),
                Column("t", "category", values=("0", "1")),
            )
        ),
        "t",
    )


weights = st.lists(st.floats(0.0, 10.0), min_size=1, max_size=12).map(np.array)


@given(weights, st.integers(1, 12), st.integers(0, 300), st.integers(0, 2**32))
def test_sets_have_their_number_of_different_items_at_their_chances(weights, number, rows, seed):
    number = min(number, len(weights))
    chances = inclusion_chances(weights, number)
    assert chances.sum() == pytest.approx(number) and (chances <= 1.0).all()
    drawn = systematic(chances, number, rows, np.random.default_rng(seed))
    assert drawn.shape == (rows, number)
    held = (drawn[:, :, None] == np.arange(len(weights))).sum(axis=1)
    assert (held <= 1).all()
    # Within one order of the items a count differs from its chance by less than one.
    orders = min(max(rows // 32, 1), 128)
    assert (np.abs(held.sum(axis=0) - rows * chances) <= orders + 1e-6).all()


def test_items_below_certainty_are_in_proportion_to_their_weights():
    chances = inclusion_chances(np.array([100.0, 3.0, 2.0, 1.0]), 2)
    assert chances == pytest.approx([1.0, 0.5, 1 / 3, 1 / 6])
    assert inclusion_chances(np.zeros(4), 2) == pytest.approx(np.full(4, 0.5))


@given(st.integers(1, 8), st.integers(0, 6), st.integers(0, 2**32))
def test_number_and_items_always_agree(most, frequent, seed):
    coder, rng, rows = encoding(most), np.random.default_rng(seed), 60
    rates = rng.random((2, 8)) * (rng.random((2, 8)) < 0.7)
    number = coder.features[0]
    codes = np.stack([rng.integers(0, number.size - 1, rows), rng.integers(0, 2, rows)], axis=1)
    classes = rng.integers(0, 2, rows)
    chosen = np.sort(rng.choice(8, frequent, replace=False))
    present = rng.random((rows, frequent)) < 0.5
    filled = ItemFiller(coder, {"item_rates": rates}).fill(
        codes.astype(np.int32), classes, rng, frequent=chosen, present=present
    )
    items = filled[:, 2:]
    sizes = (items >= 0).sum(axis=1)
    missing = filled[:, 0] > most
    assert (filled[~missing, 0] == sizes[~missing]).all() and (sizes[missing] == 0).all()
    assert (filled[:, 1] == codes[:, 1]).all()
    for row, kept in enumerate(items):
        held = kept[kept >= 0]
        assert len(set(held)) == len(held) and list(held) == sorted(held)
        wanted = set(chosen[present[row]])
        assert set(held) & set(chosen) <= wanted
        assert len(wanted) > most or wanted <= set(held)
    # What was drawn is a record as a site would code it.
    again = coder.coded(coder.decode(filled, classes, rng))
    assert again.features.tolist() == filled.tolist()


def test_items_follow_their_class():
    coder = encoding(1)
    rates = np.zeros((2, 8))
    rates[0, 3], rates[1, 5] = 0.5, 0.5
    codes = np.tile(np.array([1, 0], dtype=np.int32), (200, 1))
    classes = np.repeat([0, 1], 100)
    filled = ItemFiller(coder, {"item_rates": rates}).fill(codes, classes, np.random.default_rng(1))
    assert (filled[:100, 2] == 3).mean() > 0.95 and (filled[100:, 2] == 5).mean() > 0.95


@pytest.mark.parametrize("required", [(0, 1), (2, 5), ()])
def test_items_that_a_condition_asks_for_are_not_cut_off(required):
    coder, frequent = encoding(most=2), np.arange(6)
    filler = ItemFiller(coder, {"item_rates": np.full((3, 8), 0.1)})
    codes, classes = np.zeros((400, 2), dtype=np.int32), np.zeros(400, dtype=np.int64)
    filled = filler.fill(
        codes,
        classes,
        np.random.default_rng(1),
        frequent=frequent,
        present=np.ones((400, 6), dtype=bool),
        required=np.isin(frequent, required),
    )
    kept = filled[:, 2:]
    assert (filled[:, 0] == 2).all() and (kept >= 0).all()
    if required:
        assert (kept == required).all()
    else:
        assert set(kept.ravel()) == set(range(6))
