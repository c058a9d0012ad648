"""Grids cover their bounds without gaps or empty bins, and draws stay where they belong."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from fedloom.common.grid import integer_grid, real_grid, uses_log_scale

wide = st.integers(-(10**9), 10**9)
scales = st.sampled_from(["auto", "linear", "log"])
maybe_bins = st.none() | st.integers(1, 200)


@settings(max_examples=200, deadline=None)
@given(wide, st.integers(1, 10**9), maybe_bins, scales, st.data())
def test_whole_numbers_have_one_bin_each_and_come_back(
    low: int, width: int, bins: int | None, scale: str, data: st.DataObject
) -> None:
    inside = st.integers(low, low + width)
    specials = tuple(data.draw(st.lists(inside, max_size=min(width, 3), unique=True)))
    grid = integer_grid(low, low + width, bins=bins, scale=scale, specials=specials)
    assert (grid.starts <= grid.stops).all()
    assert (grid.starts[1:] > grid.stops[:-1]).all()
    assert grid.size <= (bins or 128)
    value = data.draw(inside)
    if value not in specials:
        code = grid.locate(np.array([float(value)]))[0]
        assert grid.starts[code] <= value <= grid.stops[code]
    codes = np.repeat(np.arange(grid.size), 3)
    drawn = grid.draw(codes, np.random.default_rng(0))
    assert (grid.locate(drawn) == codes).all()
    assert not np.isin(drawn, specials).any()
    assert (drawn == np.floor(drawn)).all()


@settings(max_examples=200, deadline=None)
@given(
    st.floats(-1e9, 1e9),
    st.floats(1e-3, 1e9),
    maybe_bins,
    scales,
    st.lists(st.floats(0, 1), max_size=3),
)
def test_reals_come_back(
    low: float, width: float, bins: int | None, scale: str, fractions: list[float]
) -> None:
    high = low + width
    specials = tuple({low + width * fraction for fraction in fractions})
    grid = real_grid(low, high, bins=bins, scale=scale, specials=specials)
    assert grid.starts[0] == low and grid.stops[-1] == high
    assert (grid.starts[1:] == grid.stops[:-1]).all()
    codes = np.repeat(np.arange(grid.size), 3)
    drawn = grid.draw(codes, np.random.default_rng(0))
    assert (grid.locate(drawn) == codes).all()
    assert not np.isin(drawn, specials).any()


@pytest.mark.parametrize(
    ("low", "high", "log"),
    [
        (0, 99_999, True),
        (0, 250_000.0, True),
        (0, 120, False),
        (1900, 2100, False),
        (-180, 180, False),
        (0, 1, False),
        (1_500_000_000, 1_700_000_000, False),
        (-8_019, 102_127, True),
        (-100_000, 100_000, True),
        (-100_000, -1, False),
    ],
)
def test_auto_takes_log_for_long_tails_only(low: float, high: float, log: bool) -> None:
    assert uses_log_scale(low, high, "auto") is log


@pytest.mark.parametrize("discrete", [True, False])
def test_the_signed_log_scale_is_fine_around_zero_and_alike_on_both_sides(discrete: bool) -> None:
    cut = integer_grid if discrete else real_grid
    grid = cut(-100_000, 100_000, bins=64, scale="log")
    widths = grid.stops - grid.starts + discrete
    middle = int(grid.locate(np.array([0.0]))[0])
    assert widths[middle] <= 2 and widths.max() > 10_000
    # Whole numbers round a width by up to one.
    assert (np.diff(widths[middle + 1 :]) >= -1e-6 - discrete).all()
    assert (np.diff(widths[: middle - 1]) <= 1e-6 + discrete).all()


def test_narrow_integers_keep_every_value_and_wide_ones_get_64_bins() -> None:
    assert integer_grid(0, 127, bins=None, scale="auto").size == 128
    assert integer_grid(0, 128, bins=None, scale="auto").size == 64
    assert integer_grid(0, 10**6, bins=None, scale="auto").size == 64
    assert integer_grid(0, 120, bins=60, scale="auto").size == 60
    assert real_grid(0, 1, bins=None, scale="auto").size == 64


def test_bin_of_a_special_value_alone_is_left_out() -> None:
    grid = integer_grid(0, 10, bins=None, scale="auto", specials=(0.0, 99.0))
    assert grid.size == 10 and grid.starts[0] == 1


@pytest.mark.parametrize(("stretch", "accepted"), [(1.0, True), (1.2, False)])
def test_draws_are_uniform_within_a_bin(stretch: float, accepted: bool) -> None:
    """Chi-square at 0.001 on 5,000 draws: false alarm once in 1000 seeds; this seed is fixed."""
    grid = integer_grid(0, 9, bins=1, scale="linear", specials=(3.0, 7.0))
    rng = np.random.default_rng(20260101)
    drawn = grid.draw(np.zeros(5000, dtype=int), rng)
    if stretch != 1.0:  # the twin: two values come more often than the others
        drawn[: int(5000 * (stretch - 1))] = 2.0
    counts = np.bincount(drawn.astype(int), minlength=10)
    assert counts[3] == counts[7] == 0
    p_value = scipy.stats.chisquare(np.delete(counts, [3, 7])).pvalue
    assert bool(p_value > 1e-3) is accepted


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 1000), min_size=1, max_size=30, unique=True), st.data())
def test_edges_are_the_grid(inner: list[int], data: st.DataObject) -> None:
    edges = tuple(float(edge) for edge in sorted(inner))
    specials = tuple(data.draw(st.lists(st.integers(0, 1000), max_size=3, unique=True)))
    whole = integer_grid(0, 1000, bins=None, scale="auto", specials=specials, edges=edges)
    alone = [value for value in specials if value in {0, *edges} and value + 1 in {*edges, 1001}]
    assert whole.size == len(edges) + 1 - len(alone)
    assert set(whole.starts) | {float(value) for value in alone} == {0.0, *edges}
    real = real_grid(0, 1001, bins=None, scale="auto", specials=specials, edges=edges)
    assert real.starts.tolist() == [0.0, *edges] and real.stops[-1] == 1001
    for grid in (whole, real):
        codes = np.repeat(np.arange(grid.size), 3)
        drawn = grid.draw(codes, np.random.default_rng(0))
        assert (grid.locate(drawn) == codes).all()
        assert not np.isin(drawn, specials).any()
