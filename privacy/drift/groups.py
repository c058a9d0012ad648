"""The few groups of cells on which a column of two studies is compared.

Some ten groups tell of a shift what thousands of noisy cells would hide. Which cells form a group
follows from the earlier study's counts, the noise of both and the new number of records alone; the
new counts have no other say in it, so that a test on the groups keeps its level.
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
        std = math.hypot(math.sqrt(new.variance) / totals[0], math.sqrt(old.variance) / totals[1])
        alone = old.counts / totals[1] >= _STANDS_OUT * std
        runs = None if wide_old is None else _runs(wide_old, totals[1], std)
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


def _runs(axis: Axis, total: float, std: float) -> Array:
    """Returns the left ends of runs of cells that hold enough each, the first among them.

    Args:
      axis: of the earlier study.
      total: its number of records.
      std: noise of one count in shares, of both studies together.
    """
    starts, held, members = [0], 0.0, 0.0
    for place, (share, joined) in enumerate(zip(axis.counts / total, axis.members, strict=True)):
        held, members = held + float(share), members + float(joined)
        if held >= max(_LEAST, _STANDS_OUT * std * math.sqrt(members)):
            starts.append(place + 1)
            held, members = 0.0, 0.0
    if len(starts) > 1:  # what is left over joins the last run
        starts.pop()
    return axis.starts[starts]


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
