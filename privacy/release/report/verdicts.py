"""What a release is good for: a verdict on each column and each pair, the worst first.

Synthetic rows are compared with the noisy counts. Two numbers decide: the total variation between
them, and the mean of that distance if the generator were perfect and only the known noise and the
number of rows were at work.

  fits     the distance is what noise and rows alone would make, and they make little
  blurred  the generator differs by more than that, or noise and rows make much
  drowned  noise alone would move so many records that nothing can be said

All of this is post-processing of the noisy sums.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from fedloom.common.encoding import Block
from fedloom.common.marginals import NoisyMarginals
from fedloom.privacy.release.report.compare import Marginal
from fedloom.privacy.release.report.grouped_tables import (
    grouping_of,
    noisy_tables,
    synthetic_counts,
)

__all__ = ["LEVELS", "Leak", "Verdict", "column_verdicts", "leaks", "pair_verdicts"]

Array = np.ndarray[Any, np.dtype[Any]]

LEVELS = ("fits", "blurred", "drowned")
_MUCH, _ALL = 0.1, 0.25
# A distance is more than chance from so many of its standard deviations on, and if it matters.
_APART, _LITTLE = 3.0, 0.005
# A column is flagged from this share of missing, unreadable or other values on.
_MOSTLY, _OFTEN = 0.5, 0.2
_DETERMINED, _LEFT = 0.98, 0.5
# A cell counts as seen if it stands so many standard deviations out of its noise.
_SEEN = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is to be thought of a column, or of a pair of columns.

    Attributes:
      names: the column, or both.
      level: one of `LEVELS`.
      distance: total variation between synthetic rows and noisy counts.
      expected: mean of it if noise and the number of rows alone made it.
      flags: what else is to be known, a few words each.
    """

    names: tuple[str, ...]
    level: str
    distance: float
    expected: float
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """A column that all but tells the label.

    Attributes:
      column: the column.
      right: share of records whose class follows from their cell, as noisy counts say.
      base: share of the most frequent class.
    """

    column: str
    right: float
    base: float


def column_verdicts(
    marginals: Sequence[Marginal], rows: int, statistics: NoisyMarginals
) -> list[Verdict]:
    """Returns a verdict on each column, the worst first.

    Args:
      marginals: the comparison of each column.
      rows: number of synthetic rows.
      statistics: the noisy sums over sites.
    """
    blocks = {block.name: block for block in statistics.encoding.blocks}
    rows = max(rows, 1)
    found = [
        Verdict(
            names=(one.name,),
            level=_level(one.distance, one.expected, _spread(one, rows)),
            distance=one.distance,
            expected=one.expected,
            flags=tuple(_flags(blocks[one.name], one, statistics)),
        )
        for one in marginals
    ]
    return sorted(found, key=_badness)


def pair_verdicts(frame: pd.DataFrame, statistics: NoisyMarginals) -> list[Verdict]:
    """Returns a verdict on each pair of columns that was counted, the worst first.

    Args:
      frame: synthetic rows, in the types of the schema.
      statistics: the noisy sums over sites.
    """
    encoding = statistics.encoding
    codes = encoding.encode(frame).codes
    groupings = [grouping_of(block, codes, statistics) for block in encoding.blocks]
    names, rows, total = encoding.schema.names, max(len(frame), 1), statistics.total()
    found = []
    for table in noisy_tables(statistics, groupings):
        a, b = table.columns
        shares = synthetic_counts(groupings[a], groupings[b], codes, encoding) / rows
        noise = table.variances / total**2
        spread = np.sqrt(noise + shares * (1 - shares) / rows)
        distance = min(float(np.abs(shares - table.counts / total).sum() / 2), 1.0)
        expected = min(float(spread.sum()) / math.sqrt(2 * math.pi), 1.0)
        found.append(
            Verdict(
                names=(names[a], names[b]),
                level=_level(distance, expected, spread),
                distance=distance,
                expected=expected,
            )
        )
    return sorted(found, key=_badness)


def leaks(statistics: NoisyMarginals) -> list[Leak]:
    """Returns the columns whose value all but determines the label's class, the surest first.

    Only cells that stand out of their noise are looked at, and only columns of which they hold at
    least half the records, and half of those that are not of the most frequent class: a class that
    noise hides in every cell is no class that a column tells.

    Args:
      statistics: the noisy sums over sites.
    """
    encoding = statistics.encoding
    if encoding.target is None or encoding.num_classes < 2:
        return []
    total, classes = statistics.total(), statistics.class_counts()
    base, common = float(classes.max() / total), int(classes.argmax())
    by_class = [statistics.one_way(label) for label in range(encoding.num_classes)]
    stds = statistics.one_way_std()
    found = []
    for place, block in enumerate(encoding.features):
        if block.name == encoding.target:
            continue
        table = np.maximum(np.stack([parts[place] for parts in by_class]), 0.0)
        least = _SEEN * stds[block.start : block.start + block.size]
        seen = table.sum(axis=0) > least * math.sqrt(encoding.num_classes)
        held = float(table[:, seen].sum())
        if held < _LEFT * total:
            continue
        # What lies within the noise of an empty class is taken for nothing.
        told = np.where(table > least, table, 0.0)[:, seen]
        if np.delete(told, common, axis=0).sum() < _LEFT * np.delete(classes, common).sum():
            continue
        right = float(told.max(axis=0).sum() / max(float(told.sum()), 1.0))
        if right >= _DETERMINED and 1.0 - right < (1.0 - base) / 5:
            found.append(Leak(column=block.name, right=right, base=base))
    return sorted(found, key=lambda leak: -leak.right)


def _level(distance: float, expected: float, spread: Array) -> str:
    """Returns the level; `spread` is the standard deviation of each share's difference."""
    deviation = math.sqrt(float((spread**2).sum()) * (1 - 2 / math.pi)) / 2
    if expected >= _ALL:
        return "drowned"
    apart = distance > expected + _APART * deviation + _LITTLE
    return "blurred" if apart or expected >= _MUCH else "fits"


def _badness(verdict: Verdict) -> tuple[int, float]:
    return -LEVELS.index(verdict.level), -verdict.distance


def _spread(marginal: Marginal, rows: int) -> Array:
    shares, errors = np.array(marginal.synthetic), np.array(marginal.errors)
    spread: Array = np.sqrt(errors**2 + shares * (1 - shares) / rows)
    return spread


def _flags(block: Block, marginal: Marginal, statistics: NoisyMarginals) -> list[str]:
    """Says which cells that tell no value hold much of a column."""
    column = statistics.encoding.schema.columns[block.index]
    told = [("other" if column.other is not None else "unknown", -1)]
    if column.nullable:
        told.append(("missing", -2))
    flags = []
    for word, cell in told:
        share = marginal.noisy[cell]
        if share - 2 * marginal.errors[cell] > 0 and share >= _OFTEN:
            much = "mostly " if share >= _MOSTLY else ""
            flags.append(f"{much}{word} ({100 * share:.0f}%)")
    return flags
