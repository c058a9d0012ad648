"""The few groups of cells on which a column of two studies is compared.

Some ten groups tell of a shift what thousands of noisy cells would hide. A test on groups that the
tested counts chose keeps its level only if the choice says nothing of the difference. Cells that
one study chose would be those that its noise had made large, and the other study would seem to
have fewer in them. So groups follow from the pooled share of each cell, in which each study weighs
by the inverse of its variance: if both populations are alike, this is uncorrelated with the
difference, to first order in the noise. Variances are those of noise and of sampling at the share
that the choice is about; a cell whose share is far from it keeps a little correlation, but there
the choice is hardly left to noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.privacy.drift.looked import Axis, LookedColumn

__all__ = ["Grouped", "comparable", "grouped"]

Array = NDArray[Any]

# Share of a column that a group of an axis holds at the least, and what it and each cell that
# stands alone weighs, in standard deviations of noise.
_LEAST, _STANDS_OUT = 0.1, 3.0
# An axis is told on its widest cells if they make so many groups.
_ENOUGH = 5


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Grouped:
    """A column's noisy counts on groups.

    Attributes:
      counts: (G,) noisy counts.
      variances: (G,) of their independent noise.
    """

    counts: Array
    variances: Array

    @property
    def total(self) -> float:
        """The column's noisy number of records."""
        return float(self.counts.sum())

    @property
    def total_std(self) -> float:
        """The standard deviation of its noise."""
        return math.sqrt(float(self.variances.sum()))


def comparable(new: LookedColumn, old: LookedColumn) -> bool:
    """Whether two studies' columns have the same values: cells apart, and ends of the axis."""
    ends = [(one.axes[0].starts[0], one.axes[0].end) for one in (new, old) if one.axes]
    return new.apart == old.apart and len(ends) != 1 and len(set(ends)) <= 1


def grouped(new: LookedColumn, old: LookedColumn) -> tuple[Grouped, Grouped]:
    """Returns both columns on the same groups.

    Args:
      new: a column of the new study.
      old: the same of the earlier one; they are `comparable`.
    """
    best: tuple[Grouped, Grouped] | None = None
    for wide_new, wide_old in _common_widths(new, old):
        totals = [
            max(float(one.counts.sum()) + (0.0 if axis is None else float(axis.counts.sum())), 1.0)
            for one, axis in ((new, wide_new), (old, wide_old))
        ]
        noise = np.array([new.variance, old.variance]) / np.square(totals)
        least = _STANDS_OUT * math.sqrt(noise.sum())
        shares = np.array([new.counts / totals[0], old.counts / totals[1]])
        alone = _pooled(shares, noise + least / np.array(totals)) >= least
        runs = None
        if wide_new is not None and wide_old is not None:
            runs = _runs((wide_new, wide_old), totals, noise)
        found = (_on(new, wide_new, runs, alone), _on(old, wide_old, runs, alone))
        if best is None or len(found[0].counts) > len(best[0].counts):
            best = found
        if runs is None or len(runs) >= _ENOUGH:
            break
    assert best is not None
    return best


def _common_widths(
    new: LookedColumn, old: LookedColumn
) -> list[tuple[Axis, Axis] | tuple[None, None]]:
    """Returns both axes on the same cells at each width that both have, the widest first."""
    if not new.axes:
        return [(None, None)]
    found: list[tuple[Axis, Axis] | tuple[None, None]] = [
        (one, other)
        for one in new.axes
        for other in old.axes
        if np.array_equal(one.starts, other.starts)
    ]
    if not found:
        shared = np.intersect1d(new.axes[0].starts, old.axes[0].starts)
        found = [(new.axes[0].joined(shared), old.axes[0].joined(shared))]
    return found[::-1]


def _pooled(shares: Array, variances: Array) -> Array:
    """Returns shares (n,) of both studies that are uncorrelated with their difference.

    Args:
      shares: (2, n) of each study.
      variances: (2,) of a share of each.
    """
    both = float(variances.sum())
    weight = float(variances[1]) / both if both > 0 else 0.5
    pooled: Array = weight * shares[0] + (1.0 - weight) * shares[1]
    return pooled


def _runs(axes: tuple[Axis, Axis], totals: list[float], noise: Array) -> Array:
    """Returns the left ends of runs of cells that hold enough each, the first among them.

    Args:
      axes: of both studies, on the same cells.
      totals: their numbers of records.
      noise: (2,) variance of the noise of one count of each, in shares.
    """
    cells = len(axes[0].starts)
    shares = np.array([one.counts / total for one, total in zip(axes, totals, strict=True)])
    noises = noise[:, None] * np.array([one.members for one in axes])
    # A run is a sum of cells: at the mean share of a cell, its variance is the sum of theirs.
    pooled = _pooled(shares, noises.mean(axis=1) + 1.0 / (cells * np.array(totals)))
    starts, held, variance = [0], 0.0, 0.0
    for place, (share, spread) in enumerate(zip(pooled, noises.sum(axis=0), strict=True)):
        held, variance = held + float(share), variance + float(spread)
        if held >= max(_LEAST, _STANDS_OUT * math.sqrt(variance)):
            starts.append(place + 1)
            held, variance = 0.0, 0.0
    if len(starts) > 1:  # what is left over joins the last run
        starts.pop()
    found: Array = axes[0].starts[starts]
    return found


def _on(column: LookedColumn, axis: Axis | None, runs: Array | None, alone: Array) -> Grouped:
    """Returns a column on runs of its axis, cells that stand alone, and all others together."""
    counts, members = [column.counts[alone]], [np.ones(int(alone.sum()))]
    if axis is not None and runs is not None:
        wide = axis.joined(runs)
        counts.append(wide.counts)
        members.append(wide.members)
    if not alone.all():
        counts.append(np.array([column.counts[~alone].sum()]))
        members.append(np.array([float((~alone).sum())]))
    return Grouped(
        counts=np.concatenate(counts), variances=np.concatenate(members) * column.variance
    )
