import numpy as np
import pytest

from fedloom.common.encoding import Encoding
from fedloom.common.marginals import NoisyMarginals, OneWayMarginals, check_groups, group_sizes
from fedloom.common.schema import Column, Schema
from fedloom.server.binning import merge_cells


@pytest.fixture(scope="module")
def encoding():
    columns = (
        Column("age", "integer", minimum=0, maximum=99, nullable=True),
        Column("income", "real", minimum=0.0, maximum=1e6),
        Column("code", "category", values=tuple(f"c{i}" for i in range(1500))),
        Column("zone", "category", values=tuple(f"z{i}" for i in range(800))),
        Column("t", "category", values=("0", "1")),
    )
    return Encoding(Schema(columns), "t")


def look_at(encoding, rows, *, std=1.0, seed=1):
    rng = np.random.default_rng(seed)
    codes = np.stack(
        [
            np.minimum(rng.geometric(0.05, rows) - 1, 99),
            rng.integers(10, 50, rows),
            np.minimum(rng.geometric(0.01, rows) - 1, 1499),
            rng.integers(0, 800, rows),
        ],
        axis=1,
    )
    measured = OneWayMarginals(encoding)
    exact = measured.sum(codes.astype(np.int32), rng.integers(0, 2, rows))
    noise = std * rng.standard_normal(measured.length)
    return NoisyMarginals(encoding=encoding, look=exact + noise, look_std=std)


@pytest.mark.parametrize("rows", [0, 300, 30_000])
@pytest.mark.parametrize("most_cells", [20, 5_000, 1_000_000])
def test_groups_always_hold_and_stay_below_the_limit(encoding, rows, most_cells):
    statistics = look_at(encoding, rows, std=30.0)
    groups = merge_cells(statistics, pair_std=20.0, most_cells=most_cells)
    check_groups(encoding, groups, most_cells)


def test_the_same_look_gives_the_same_groups(encoding):
    groups = [
        merge_cells(look_at(encoding, 5000), pair_std=5.0, most_cells=10**6) for _ in range(2)
    ]
    np.testing.assert_array_equal(*groups)


def test_more_noise_gives_fewer_groups(encoding):
    statistics = look_at(encoding, 5000)
    sizes = [
        sum(group_sizes(encoding, merge_cells(statistics, pair_std=std, most_cells=10**9)))
        for std in (0.1, 3.0, 100.0)
    ]
    assert sizes[0] > sizes[1] > sizes[2]


def test_groups_of_bins_are_intervals(encoding):
    statistics = look_at(encoding, 5000)
    groups = merge_cells(statistics, pair_std=5.0, most_cells=10**6)
    age, income = encoding.features[:2]
    for block in (age, income):
        bins = groups[block.start : block.start + block.num_bins]
        assert (np.diff(bins) >= 0).all() and len(np.unique(bins)) > 3
