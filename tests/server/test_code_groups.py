"""Which codes are counted together in pairs, under a hierarchy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedloom.common.encoding import Block, Encoding
from fedloom.common.schema import Column, Schema
from fedloom.server.code_groups import code_groups

CODES = tuple(f"{chapter}{block}{code}" for chapter in "ab" for block in "01" for code in "xyz")
COLUMN = Column(
    "code",
    "category",
    values=CODES,
    hierarchy=tuple((code, code[:2]) for code in CODES)
    + tuple((part + block, part) for part in "ab" for block in "01"),
    nullable=True,
)


def block() -> Block:
    schema = Schema((COLUMN, Column("t", "category", values=("0", "1"))))
    return Encoding(schema, "t").features[0]


def test_rare_codes_join_the_lowest_node_that_weighs_enough() -> None:
    shares = np.array([30, 5, 5, 1, 1, 1, 1, 1, 1, 1, 1, 1, 50, 0]) / 100
    groups = code_groups(block(), shares, least=0.06, most=20)
    assert (groups == groups[0]).sum() == 1 and (groups == groups[12]).sum() == 1
    # 10 are left of block a0, and 3 in block a1 weigh too little, as do 6 in b: a chapter.
    assert groups[1] == groups[2] and (groups == groups[1]).sum() == 2
    assert set(np.flatnonzero(groups == groups[6])) == set(range(6, 12))
    assert len({int(g) for g in groups}) == groups.max() + 1


@given(
    st.lists(st.floats(0, 1), min_size=14, max_size=14),
    st.floats(1e-6, 0.5),
    st.integers(1, 20),
)
def test_groups_are_numbered_without_a_gap_and_within_the_limit(
    weights: list[float], least: float, most: int
) -> None:
    shares = np.array(weights) / max(sum(weights), 1e-9)
    groups = code_groups(block(), shares, least=least, most=most)
    assert groups.dtype == np.int32 and groups.shape == (14,)
    assert set(groups.tolist()) == set(range(groups.max() + 1)) and groups.max() < most


@pytest.mark.parametrize("most", [1, 2])
def test_the_limit_holds_where_every_code_weighs_alike(most: int) -> None:
    assert code_groups(block(), np.full(14, 1 / 14), least=1e-6, most=most).max() < most
