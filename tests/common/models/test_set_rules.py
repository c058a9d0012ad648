"""Rows of a tree whose number of items and frequent items cannot be one record are left out."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fedloom.common.column import Column
from fedloom.common.encoding import Encoding
from fedloom.common.models.set_rules import SetRules
from fedloom.common.schema import Schema

ENCODING = Encoding(
    Schema(
        (
            Column("s", "set", values=tuple("abcde"), maximum=3, nullable=True),
            Column("x", "category", values=("0", "1")),
            Column("u", "set", values=tuple("yz"), maximum=2),
        )
    )
)


@given(st.integers(0, 2**32))
def test_a_row_is_kept_if_some_number_of_its_group_can_be(seed):
    rng = np.random.default_rng(seed)
    # Cells: 0 to 3, missing, other; two codes and other; 0 to 2, other.
    groups = [
        np.unique(rng.integers(0, 3, block.size), return_inverse=True)[1]
        for block in ENCODING.features
    ]
    frequent = np.flatnonzero(rng.random(7) < 0.5)
    rows = [rng.choice(part, 40) for part in groups]
    rows += [rng.integers(0, 2, 40) for _ in frequent]
    codes = np.stack(rows)
    kept = SetRules.of(ENCODING, [list(part) for part in groups], list(frequent)).kept(codes)
    for row, found in enumerate(kept):
        good = True
        for feature, items, most in ((0, range(5), 3), (2, range(5, 7), 2)):
            held = sum(codes[3 + i, row] for i, item in enumerate(frequent) if item in items)
            others = len(items) - sum(item in items for item in frequent)
            cells = np.flatnonzero(groups[feature] == codes[feature, row])
            numbers = [cell if cell <= most else 0 for cell in cells]
            # Numbers of a group are neighbours, or stand for no number at all.
            good &= held <= max(numbers) and min(numbers) <= held + others
        assert found == good


def test_without_sets_every_row_is_kept():
    plain = Encoding(Schema((Column("x", "category", values=("0", "1")),)))
    assert SetRules.of(plain, [[0, 1, 1]], []).kept(np.zeros((1, 5), dtype=int)).all()
