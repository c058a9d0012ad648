"""On which cells a tree's pairs and triples are counted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fedloom.common.class_column_marginals import check_class_groups
from fedloom.common.column_marginals import ColumnMarginals
from fedloom.common.encoding import Block, Encoding
from fedloom.common.marginals import NoisyMarginals, TwoWayMarginals, check_groups, group_sizes
from fedloom.common.parities import check_halves
from fedloom.common.schema import Column, Schema
from fedloom.common.three_way_marginals import check_coarse_groups
from fedloom.server import tree_design
from fedloom.server.tree_design import choose_coarse_groups, choose_groups, choose_halves

ENCODING = Encoding(
    Schema(
        (
            Column("gain", "integer", minimum=0, maximum=63),
            Column("age", "integer", minimum=0, maximum=63, nullable=True),
            Column("job", "category", values=tuple("abcdefgh")),
            Column("t", "category", values=("0", "1")),
        )
    ),
    "t",
)


def statistics(rows: int, std: float, groups: np.ndarray | None = None) -> NoisyMarginals:
    rng = np.random.default_rng(1)
    gain = np.where(rng.random(rows) < 0.8, 0, rng.integers(1, 64, rows))
    gain = np.where(rng.random(rows) < 0.05, 50, gain)
    job = rng.choice(9, rows, p=(0.4, 0.3, 0.2, 0.0985, 0.0005, 0.0005, 0.0005, 0, 0))
    codes = np.stack([gain, rng.integers(0, 65, rows), job], axis=1).astype(np.int32)
    classes = rng.integers(0, 2, rows)
    columns = ColumnMarginals(ENCODING)
    look = columns.sum(codes, classes) + rng.normal(0, std, columns.length)
    if groups is None:
        return NoisyMarginals(encoding=ENCODING, look=look, look_std=std, by_class=False)
    pairs = TwoWayMarginals(ENCODING, groups)
    return NoisyMarginals(
        encoding=ENCODING,
        look=look,
        look_std=std,
        groups=groups,
        pairs=pairs.sum(codes, classes) + rng.normal(0, std, pairs.length),
        pair_std=std,
        by_class=False,
    )


def test_spikes_and_heavy_values_stand_alone_and_rare_ones_together():
    groups = choose_groups(statistics(20_000, 20.0), pair_std=20.0, most_cells=10**6)
    check_groups(ENCODING, groups, 10**6)
    gain, job = groups[:65], groups[-9:]
    assert (gain == gain[0]).sum() == 1 and (gain == gain[50]).sum() == 1
    assert len({int(group) for group in job[:4]}) == 4 and len(set(job[4:].tolist())) == 1
    assert all(size <= 26 for size in group_sizes(ENCODING, groups))


@pytest.mark.parametrize("rows, std", [(0, 50.0), (500, 50.0), (20_000, 1e5)])
def test_few_groups_are_left_where_noise_hides_a_column(rows, std):
    groups = choose_groups(statistics(rows, std), pair_std=std, most_cells=10**6)
    check_groups(ENCODING, groups, 10**6)
    assert max(group_sizes(ENCODING, groups)) <= 12
    assert min(group_sizes(ENCODING, groups)) >= 2, "a column of one group tells nothing"


@pytest.mark.parametrize("limit", [6000, 1000, 60, 1])
def test_the_limit_on_cells_is_kept(limit):
    """With one group a column there is one cell a pair and class, whatever the limit."""
    groups = choose_groups(statistics(20_000, 5.0), pair_std=5.0, most_cells=limit)
    check_groups(ENCODING, groups, max(limit, 3 * ENCODING.num_classes))
    coarse = choose_coarse_groups(statistics(20_000, 5.0, groups), most_cells=limit)
    check_coarse_groups(ENCODING, coarse, max(limit, ENCODING.num_classes))


def test_columns_within_classes_keep_the_limit_of_the_pairs_too(monkeypatch):
    """A column that groups leave whole, beside another one: pairs are fewer than groups."""
    values = tuple(map(str, range(80)))
    encoding = Encoding(
        Schema(
            (
                Column("t", "category", values=tuple(map(str, range(300)))),
                Column("a", "integer", minimum=0, maximum=9, bins=1),
                Column("b", "category", values=values),
            )
        ),
        "t",
    )
    look = np.zeros(ColumnMarginals(encoding).length)
    cells = np.zeros(encoding.width)
    first, second = encoding.features
    cells[first.start] = 300_000.0
    cells[second.start : second.start + 80] = 300_000.0 / 80
    look[:300] = 1000.0
    look[encoding.num_classes : encoding.num_classes + encoding.width] = cells
    noisy = NoisyMarginals(encoding=encoding, look=look, look_std=5.0, by_class=False)
    cut = tree_design._groups

    def whole(block: Block, shares: np.ndarray, **limits: Any) -> np.ndarray:
        return cut(block, shares, **limits) * (block.name != "a")

    monkeypatch.setattr(tree_design, "_groups", whole)
    for most in range(1_000, 25_000, 200):
        groups = choose_groups(noisy, pair_std=5.0, most_cells=most)
        check_groups(encoding, groups, most)
        check_class_groups(encoding, groups, most)


def test_columns_are_cut_in_halves_of_like_mass_that_split_no_group_of_the_pairs():
    groups = choose_groups(statistics(20_000, 20.0), pair_std=20.0, most_cells=10**6)
    halves = choose_halves(statistics(20_000, 20.0, groups))
    check_halves(ENCODING, halves)
    gain, age, job = halves[:65], halves[65 : 65 + 66], halves[-9:]
    assert gain[0] == 0 and gain[50] == 1  # four fifths are zero
    assert (np.diff(age[:64]) >= 0).all() and 28 <= (age[:64] == 0).sum() <= 36
    assert job[0] == 0 and job[1] == job[2] == 1
    for block in ENCODING.features:
        part = slice(block.start, block.start + block.size)
        pairs = {(int(a), int(b)) for a, b in zip(groups[part], halves[part], strict=True)}
        assert len(pairs) == int(groups[part].max()) + 1


@pytest.mark.parametrize("rows, std", [(0, 50.0), (500, 1e5)])
def test_halves_are_halves_where_noise_hides_a_column(rows, std):
    groups = choose_groups(statistics(rows, std), pair_std=std, most_cells=10**6)
    check_halves(ENCODING, choose_halves(statistics(rows, std, groups)))


def test_triples_are_counted_on_three_groups_that_split_no_group_of_the_pairs():
    groups = choose_groups(statistics(20_000, 20.0), pair_std=20.0, most_cells=10**6)
    coarse = choose_coarse_groups(statistics(20_000, 20.0, groups), most_cells=10**6)
    assert group_sizes(ENCODING, coarse) == (2, 3, 3) or max(group_sizes(ENCODING, coarse)) == 3
    for block in ENCODING.features:
        span = slice(block.start, block.start + block.size)
        pairs = set(zip(groups[span].tolist(), coarse[span].tolist(), strict=True))
        assert len(pairs) == groups[span].max() + 1


def test_the_same_counts_give_the_same_groups():
    made = [choose_groups(statistics(5000, 20.0), pair_std=20.0, most_cells=10**6) for _ in "ab"]
    np.testing.assert_array_equal(*made)
