"""Reads bounds and quantile bins of an open column from the noisy histogram on its public axis.

The cells of a group are first made to agree with the group's own count (least squares). A stretch
of 1, 2, 4, ... cells of a group holds records for sure if its noisy sum lies above z times its own
noise, with z such that of all stretches of a column one crosses it by noise alone less than once in
1,000 columns (`FALSE_ALARM`, a union bound; as the group must lie above zero too, it is far rarer).
Counts are kept where they stand out in the shortest stretches that do, and dropped elsewhere. From
the ends of what is kept the bounds move outward over what is left of a group, and over whole
groups, that stand out, by a lower z, as these are few (again once in 1,000 columns). Of a stretch
only the part that stands out most is taken, so dense ends are told to one cell and sparse tails
about to where they thin out. What lies outside will be clamped. No stretch reaches over zero.

A column whose values would be too many to keep each gets bins: half of their number follows the
noisy counts (quantiles), half the axis (constant ratios), so that neither the crowd nor the tail
ends up in one bin.

All of it is post-processing of noised sums.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from fedloom.common.column import Bound, Column
from fedloom.common.discovery import CELL_WEIGHT, GROUP_WEIGHT
from fedloom.common.grid import DEFAULT_BINS, KEEP_ALL
from fedloom.common.number_axis import CELLS_PER_OCTAVE, NumberAxis, number_axis

__all__ = ["FALSE_ALARM", "Bounds", "read_bounds", "records_needed", "threshold"]

Array = NDArray[np.float64]

FALSE_ALARM = 1e-3
# A least value below this part of the greatest is told as zero: it saves clamping, costs one bin.
_NEARLY_ZERO = 1 / 16
# Below this part of the greatest, bins follow the counts alone: there is no end of octaves.
_AXIS_SHARE_ABOVE = 1 / 64
_SPIKE_SHARE = 0.05
_SPIKE_OVER_NEIGHBOURS = 4.0
_DAYS_TO_1970 = np.datetime64("1970-01-01", "D")
_SIGNIFICANT_STEPS = 20
# Beyond the ends few stretches are looked at: five moves of five, on both ends of both sides.
_BEYOND = float(norm.isf(FALSE_ALARM / (4 * 5 * 5)))
_GROUPS_BEYOND = (0, 1, 2, 4, 8)
_CLEAR = 3.0
# What stands out in a cell shows in its group's own count too, or is noise: the group must exceed
# so many standard deviations. It loses few true ones and most of the false.
_BACKED = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What is known of a column's values.

    Attributes:
      minimum: Smallest value of the schema.
      maximum: Largest value.
      edges: First values of the bins but the first; none where the default grid serves.
      special: A spike at zero, or none.
      records: Noisy number of records within.
      alone: One cell is all that stands out, and the other bound was made up beside it.
    """

    minimum: Bound
    maximum: Bound
    edges: tuple[Bound, ...]
    special: tuple[Bound, ...]
    records: float
    alone: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """The noisy counts of a column, cells made to agree with their groups.

    Attributes:
      counts: Records in each cell, (cells,).
      cell_std: Standard deviation of a cell's own noise, before its group was looked at.
      group_vars: Variance of each group's sum, (groups,).
    """

    counts: Array
    cell_std: float
    group_vars: Array

    @classmethod
    def make(cls, axis: NumberAxis, vector: Array, noise_std: float) -> Histogram:
        """Reads the cells and groups of a column from the noisy sum.

        Args:
          axis: The column's public axis.
          vector: Its cells and groups, (axis.size + axis.num_groups,).
          noise_std: Standard deviation of the noise in each.
        """
        cells, groups = vector[: axis.size] / CELL_WEIGHT, vector[axis.size :] / GROUP_WEIGHT
        cell_std, group_std = noise_std / CELL_WEIGHT, noise_std / GROUP_WEIGHT
        sizes = np.bincount(axis.groups).astype(np.float64)
        sums = np.bincount(axis.groups, weights=cells)
        own = sizes * cell_std**2
        variances = 1.0 / (1.0 / own + 1.0 / group_std**2)
        excess = variances * (sums / own + groups / group_std**2) - sums
        return cls(
            counts=cells + (excess / sizes)[axis.groups],
            cell_std=cell_std,
            group_vars=variances,
        )

    def stretch_std(self, width: float, size: float, group_var: float) -> float:
        """Returns the standard deviation of the sum over `width` cells of a group of `size`."""
        part = width / size
        return math.sqrt(self.cell_std**2 * width * (1.0 - part) + part**2 * group_var)


def threshold(axis: NumberAxis) -> float:
    """Returns z: how many standard deviations of its own noise a stretch of cells must exceed."""
    return float(norm.isf(FALSE_ALARM / (2 * axis.size)))


def records_needed(axis: NumberAxis, noise_std: float) -> int:
    """Returns how many records within a cell, or within a group beyond others, are surely seen."""
    single = threshold(axis) * noise_std / CELL_WEIGHT
    return math.ceil(max(single, _BEYOND * noise_std / GROUP_WEIGHT))


def read_bounds(column: Column, vector: Array, noise_std: float) -> Bounds | None:
    """Returns bounds, bins and a spike at zero; None where nothing stands out of the noise.

    Args:
      column: An open integer, real or datetime column.
      vector: Its cells and groups in the noisy sum, as `fedloom.common.discovery` lays them out.
      noise_std: Standard deviation of the noise in each of them.
    """
    axis = number_axis(column.kind)
    histogram = Histogram.make(axis, vector, noise_std)
    counts, limit = histogram.counts, threshold(axis) * noise_std / CELL_WEIGHT
    spike = _has_spike(axis, counts, limit)
    beside = counts.copy()
    if spike:
        beside[axis.zero] = 0.0
    held = _held(axis, dataclasses.replace(histogram, counts=beside))
    if held is None and spike:
        spike, held = False, _held(axis, histogram)
    if held is None:
        return None
    first, last, density = held
    records = float(counts[first : last + 1].sum())
    if column.kind == "datetime":
        return _times(axis, first, last, records)
    if spike and not first <= int(axis.zero or 0) <= last:
        records += float(counts[axis.zero])
    low, high = float(axis.lows[first]), float(axis.highs[last])
    alone = low == high
    low, high = _rounded(low, high)
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
        alone=alone,
    )


def _held(axis: NumberAxis, histogram: Histogram) -> tuple[int, int, Array] | None:
    """Returns the first and last cell that hold records, and `_density`; None where none does."""
    density = _density(axis, histogram)
    zero = axis.zero or 0
    sides = [np.arange(zero, axis.size)] + [np.arange(zero - 1, -1, -1)] * (zero > 0)
    ends = []
    for side in sides:
        cells = np.flatnonzero(density[side])
        if len(cells):
            back = side[::-1]
            near = _end(axis, histogram, back, len(side) - 1 - int(cells[0]))
            ends += [int(back[near]), int(side[_end(axis, histogram, side, int(cells[-1]))])]
    return (min(ends), max(ends), density) if ends else None


def _density(axis: NumberAxis, histogram: Histogram) -> Array:
    """Returns records a cell, evenly within the shortest stretches that stand out, else zero."""
    density, z = np.zeros(axis.size), threshold(axis)
    sizes = np.bincount(axis.groups)
    for size in np.unique(sizes):
        cells = np.flatnonzero(sizes[axis.groups] == size)
        counts, group_vars = histogram.counts[cells], histogram.group_vars[axis.groups[cells]]
        sums = counts.reshape(-1, size).sum(axis=1)
        backed = np.repeat(sums > _BACKED * np.sqrt(group_vars[::size]), size)
        found, width = np.zeros(len(cells)), 1
        while width <= size:
            sums = counts.reshape(-1, width).sum(axis=1)
            free = backed[::width] & ~found.reshape(-1, width).any(axis=1)
            std = histogram.stretch_std(width, float(size), float(group_vars[0]))
            for position in np.flatnonzero(free & (sums > z * std)):
                part = slice(position * width, (position + 1) * width)
                found[part] = _core(counts[part])
            width = 2 * width if size % (2 * width) == 0 or width == size else int(size)
        density[cells] = found
    return density


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


def _end(axis: NumberAxis, histogram: Histogram, side: NDArray[np.int_], last: int) -> int:
    """Moves an end outward over stretches that stand out, the shortest first; returns it.

    Args:
      axis: The column's axis.
      histogram: Its noisy counts.
      side: Cells in the order in which they are passed, zero at one end.
      last: Position in `side` of the last cell that is known to hold records.
    """
    groups, counts = axis.groups[side], histogram.counts[side]
    stops = np.append(np.flatnonzero(np.diff(groups)) + 1, len(side))
    while last + 1 < len(side):
        begun = int(np.searchsorted(stops, last, side="right"))
        for more in _GROUPS_BEYOND:
            stop = int(stops[min(begun + more, len(stops) - 1)])
            beyond = counts[last + 1 : stop]
            if len(beyond) and beyond.sum() > _BEYOND * _std_of(
                axis, histogram, side[last + 1 : stop]
            ):
                scores = np.cumsum(beyond) / np.sqrt(np.arange(1, len(beyond) + 1))
                best = int(scores.argmax())
                clear = more <= 1 and scores[best] > _CLEAR * histogram.cell_std
                last = last + 1 + best if clear else stop - 1
                break
        else:
            return last
    return last


def _std_of(axis: NumberAxis, histogram: Histogram, cells: NDArray[np.int_]) -> float:
    """Returns the standard deviation of a sum over cells of any groups."""
    sizes = np.bincount(axis.groups)
    groups, widths = np.unique(axis.groups[cells], return_counts=True)
    variance = sum(
        histogram.stretch_std(float(width), float(sizes[group]), float(histogram.group_vars[group]))
        ** 2
        for group, width in zip(groups, widths, strict=True)
    )
    return math.sqrt(variance)


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
