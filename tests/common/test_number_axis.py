"""Every number has one cell, the cells follow one another, and small integers stand alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedloom.common.number_axis import CELLS_PER_OCTAVE, number_axis

KINDS = ("integer", "real", "datetime")


@pytest.mark.parametrize("kind", KINDS)
def test_cells_increase_and_leave_no_gap(kind: str) -> None:
    axis = number_axis(kind)
    assert (axis.lows <= axis.highs).all()
    step = 0.0 if kind == "real" else 1.0
    gaps = axis.lows[1:] - axis.highs[:-1] - step
    if kind == "real":  # between zero and the smallest magnitude lies what counts as zero
        gaps = np.delete(gaps, [int(axis.zero or 0) - 1, int(axis.zero or 0)])
    assert (gaps == 0.0).all()


@settings(max_examples=300, deadline=None)
@given(st.integers(-(2**53) + 1, 2**53 - 1))
def test_integers_lie_in_their_cell(value: int) -> None:
    axis = number_axis("integer")
    cell = int(axis.locate(np.array([float(value)]))[0])
    assert axis.lows[cell] <= value <= axis.highs[cell]
    width = axis.highs[cell] - axis.lows[cell] + 1
    assert width <= max(1.0, abs(value) / CELLS_PER_OCTAVE)


@settings(max_examples=300, deadline=None)
@given(st.floats(1e-8, 1e15), st.booleans())
def test_reals_lie_in_their_cell(magnitude: float, negative: bool) -> None:
    axis, value = number_axis("real"), -magnitude if negative else magnitude
    cell = int(axis.locate(np.array([value]))[0])
    assert axis.lows[cell] <= value <= axis.highs[cell]
    assert axis.highs[cell] - axis.lows[cell] <= magnitude / CELLS_PER_OCTAVE


def test_what_lies_beyond_counts_at_the_ends_and_dust_as_zero() -> None:
    axis = number_axis("real")
    cells = axis.locate(np.array([-1e300, -1e-300, 0.0, 1e-300, 1e300]))
    assert cells.tolist() == [0, axis.zero, axis.zero, axis.zero, axis.size - 1]


def test_datetimes_are_counted_by_month() -> None:
    axis = number_axis("datetime")
    days = np.array(["2019-12-31", "2020-01-01", "2020-01-31", "2020-02-01"], dtype="M8[D]")
    cells = axis.locate(days.astype(np.int64).astype(float))
    assert np.diff(cells).tolist() == [1, 0, 1]
    assert axis.locate(np.array([-1e9, 1e9])).tolist() == [0, axis.size - 1]


def test_axis_is_mirrored() -> None:
    for kind in ("integer", "real"):
        axis = number_axis(kind)
        assert np.array_equal(axis.lows, -axis.highs[::-1])


@pytest.mark.parametrize("kind", KINDS)
def test_groups_are_stretches_and_none_reaches_over_zero(kind: str) -> None:
    axis = number_axis(kind)
    assert axis.groups[0] == 0 and set(np.diff(axis.groups)) == {0, 1}
    sizes = np.bincount(axis.groups)
    if axis.zero is None:
        assert set(sizes) == {12}
        return
    assert sizes[axis.groups[axis.zero]] == 1
    beside = axis.lows[axis.zero + 1 :]
    octaves = np.floor(np.log2(beside))
    assert np.array_equal(np.diff(octaves), np.diff(axis.groups[axis.zero + 1 :]))
    assert np.array_equal(sizes, sizes[::-1])
