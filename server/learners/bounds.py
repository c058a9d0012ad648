"""Reads bounds and quantile bins of an open column from the noisy histogram on its public axis.

A stretch of 1, 2, 4, ... neighbouring cells, up to an octave, holds records for sure if its noisy
sum lies above z times its own noise, with z such that of all stretches of a column one crosses it
by noise alone less than once in 1,000 columns (`FALSE_ALARM`, a union bound). Counts are kept where
they stand out in the shortest stretches that do, and dropped elsewhere. From the ends of what is
kept the bounds move outward over stretches of up to 512 cells that stand out, by a lower z, as they
are few (again once in 1,000 columns). Of a stretch only the part that stands out most is taken, so
dense ends are told to one cell and sparse tails about to where they thin out. What lies outside
will be clamped. Negative numbers are looked at apart, so no stretch reaches over zero.

A column whose values would be too many to keep each gets bins: half of their number follows the
noisy counts (quantiles), half the axis (constant ratios), so that neither the crowd nor the tail
ends up in one bin.

All of it is post-processing of noised sums.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from fedloom.common.column import Bound, Column
from fedloom.common.grid import DEFAULT_BINS, KEEP_ALL
from fedloom.common.number_axis import CELLS_PER_OCTAVE, NumberAxis

__all__ = ["FALSE_ALARM", "Bounds", "read_bounds", "threshold"]

Array = NDArray[np.float64]

FALSE_ALARM = 1e-3
_LONGEST = 512
# A least value below this part of the greatest is told as zero: it saves clamping, costs one bin.
_NEARLY_ZERO = 1 / 16
# Below this part of the greatest, bins follow the counts alone: there is no end of octaves.
_AXIS_SHARE_ABOVE = 1 / 64
_SPIKE_SHARE = 0.05
_SPIKE_OVER_NEIGHBOURS = 4.0
_DAYS_TO_1970 = np.datetime64("1970-01-01", "D")
_SIGNIFICANT_STEPS = 20
_WIDTHS = [2**power for power in range(int(math.log2(_LONGEST)) + 1)]
# Beyond the ends few stretches are looked at: five moves of ten widths at most, or about that.
_BEYOND = float(norm.isf(FALSE_ALARM / (4 * 5 * len(_WIDTHS))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What is known of a column's values.

    Attributes:
      minimum: Smallest value of the schema.
      maximum: Largest value.
      edges: First values of the bins but the first; none where the default grid serves.
      special: A spike at zero, or none.
      records: Noisy number of records within.
    """

    minimum: Bound
    maximum: Bound
    edges: tuple[Bound, ...]
    special: tuple[Bound, ...]
    records: float


def threshold(axis: NumberAxis) -> float:
    """Returns z: how many standard deviations of its own noise a stretch of cells must exceed."""
    return float(norm.isf(FALSE_ALARM / (axis.size * len(_WIDTHS))))


def read_bounds(column: Column, axis: NumberAxis, counts: Array, std: float) -> Bounds | None:
    """Returns bounds, bins and a spike at zero; None where nothing stands out of the noise.

    Args:
      column: An open integer, real or datetime column.
      axis: Its public axis.
      counts: Noisy numbers of records in the axis's cells, (cells,).
      std: Standard deviation of the noise in each.
    """
    limit = threshold(axis) * std
    spike = _has_spike(axis, counts, limit)
    beside = counts.copy()
    if spike:
        beside[axis.zero] = 0.0
    held = _held(axis, beside, std, limit)
    if held is None and spike:
        spike, held = False, _held(axis, counts, std, limit)
    if held is None:
        return None
    first, last, density = held
    records = float(counts[first : last + 1].sum())
    if column.kind == "datetime":
        return _times(axis, first, last, records)
    if spike and not first <= int(axis.zero or 0) <= last:
        records += float(counts[axis.zero])
    low, high = _rounded(float(axis.lows[first]), float(axis.highs[last]))
    if spike:  # what is too rare between zero and the rest keeps its place
        low, high = min(low, 0.0), max(high, 0.0)
    whole = column.kind == "integer"
    keep_all = whole and high - low < KEEP_ALL
    edges = np.zeros(0) if keep_all else _edges(axis, density, low, high, whole=whole)
    cast = int if whole else float
    return Bounds(
        minimum=cast(low),
        maximum=cast(high),
        edges=tuple(cast(edge) for edge in edges),
        special=(cast(0),) if spike and not keep_all else (),
        records=records,
    )


def _held(
    axis: NumberAxis, counts: Array, std: float, limit: float
) -> tuple[int, int, Array] | None:
    """Returns the first and last cell that hold records, and `_density`; None where none does."""
    zero = axis.zero or 0
    sides = [(counts[zero:], zero, 1)] + [(counts[:zero][::-1], zero - 1, -1)] * (zero > 0)
    density, ends = np.zeros(len(counts)), []
    for side, origin, step in sides:
        found = _density(side, limit)
        cells = np.flatnonzero(found)
        if len(cells):
            near = len(side) - 1 - _end(side[::-1], len(side) - 1 - int(cells[0]), _BEYOND * std)
            far = _end(side, int(cells[-1]), _BEYOND * std)
            ends += [origin + step * near, origin + step * far]
            density[origin + step * np.arange(len(side))] = found
    return (min(ends), max(ends), density) if ends else None


def _density(counts: Array, limit: float) -> Array:
    """Returns records a cell, evenly within the shortest stretches that stand out, else zero."""
    padded = np.pad(counts, (0, -len(counts) % CELLS_PER_OCTAVE))
    density = np.zeros(len(padded))
    for width in _WIDTHS[: _WIDTHS.index(CELLS_PER_OCTAVE) + 1]:
        sums = padded.reshape(-1, width).sum(axis=1)
        free = ~density.reshape(-1, width).any(axis=1)
        for position in np.flatnonzero(free & (sums > limit * math.sqrt(width))):
            part = slice(position * width, (position + 1) * width)
            density[part] = _core(padded[part])
    return density[: len(counts)]


def _core(counts: Array) -> Array:
    """Returns the mean of that part of a stretch that stands out most, in its place, else zero."""
    borders = np.concatenate([[0.0], np.cumsum(counts)])
    places = np.arange(len(borders))
    widths = places[None, :] - places[:, None]
    scores = np.where(
        widths > 0, (borders[None, :] - borders[:, None]) / np.sqrt(np.maximum(widths, 1)), -np.inf
    )
    start, stop = np.unravel_index(scores.argmax(), scores.shape)
    core = np.zeros(len(counts))
    core[start:stop] = (borders[stop] - borders[start]) / (stop - start)
    return core


def _end(counts: Array, last: int, limit: float) -> int:
    """Moves an end outward over stretches that stand out, the shortest first; returns it."""
    while True:
        sums = np.cumsum(counts[last + 1 : last + 1 + _LONGEST])
        scores = sums / np.sqrt(np.arange(1, len(sums) + 1))
        wide = [width for width in _WIDTHS if width <= len(sums) and scores[width - 1] > limit]
        if not wide:
            return last
        last += int(scores[: wide[0]].argmax()) + 1


def _has_spike(axis: NumberAxis, counts: Array, limit: float) -> bool:
    """Tells whether zero itself holds far more than its neighbours on the axis."""
    if axis.zero is None:
        return False
    at_zero = float(counts[axis.zero])
    window = CELLS_PER_OCTAVE
    beside = np.delete(counts[axis.zero - window : axis.zero + window + 1], window)
    return (
        at_zero > limit
        and at_zero > _SPIKE_SHARE * float(counts.sum())
        and at_zero > _SPIKE_OVER_NEIGHBOURS * float(beside.max())
    )


def _rounded(low: float, high: float) -> tuple[float, float]:
    """Returns bounds that differ, with zero for one that is nearly zero beside the other."""
    if 0.0 < low < _NEARLY_ZERO * high:
        low = 0.0
    if 0.0 > high > _NEARLY_ZERO * low:
        high = 0.0
    return low, high if low < high else low + 1.0


def _edges(axis: NumberAxis, density: Array, low: float, high: float, *, whole: bool) -> Array:
    """Returns borders of about `DEFAULT_BINS` bins between `low` and `high`."""
    starts, ends = axis.lows, axis.highs + 1.0 if whole else axis.highs
    kept = np.flatnonzero((ends > low) & (starts < high + whole) & (ends > starts))
    starts, ends, crowd = starts[kept], ends[kept], density[kept]
    far = np.maximum(np.abs(starts), np.abs(ends)) > _AXIS_SHARE_ABOVE * max(abs(low), abs(high))
    share = far / far.sum()
    if crowd.any():
        share = 0.5 * share + 0.5 * crowd / crowd.sum()
    at = np.concatenate([[0.0], np.cumsum(share)])
    borders = np.append(starts, ends[-1])
    wanted = np.interp(np.linspace(0.0, at[-1], DEFAULT_BINS + 1)[1:-1], at, borders)
    edges: Array = np.unique(np.ceil(wanted) if whole else _short(wanted))
    return edges[(edges > low) & (edges <= high if whole else edges < high)]


def _short(values: Array) -> Array:
    """Rounds to about a twentieth of the distance to the neighbours, for people to read."""
    gaps = np.diff(values)
    near = np.minimum(np.append(gaps, gaps[-1:]), np.insert(gaps, 0, gaps[:1]))
    near = np.where(near > 0.0, near, np.maximum(np.abs(values), 1e-9))
    digits = np.ceil(-np.log10(near / _SIGNIFICANT_STEPS)).astype(int)
    return np.array([round(value, digit) for value, digit in zip(values, digits, strict=True)])


def _times(axis: NumberAxis, first: int, last: int, records: float) -> Bounds:
    days: Any = _DAYS_TO_1970 + np.array([axis.lows[first], axis.highs[last]]).astype(int)
    low, high = days.astype(object)
    return Bounds(minimum=low, maximum=high, edges=(), special=(), records=records)
