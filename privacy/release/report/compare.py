"""What a report compares: the synthetic rows with the noisy statistics, never with records.

Everything here is post-processing of the noisy sums and of the synthetic rows. Each comparison
says how large it would be if the generator were perfect and only the known noise and the finite
number of synthetic rows were at work.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from fedloom.common.encoding import Block, range_label
from fedloom.common.grid import DEFAULT_BINS
from fedloom.common.hierarchy import BRANCHING
from fedloom.common.marginals import NoisyMarginals
from fedloom.privacy.release.report.grouped_tables import (
    grouping_of,
    noisy_margins,
    noisy_tables,
    synthetic_counts,
)

__all__ = ["Dependence", "Marginal", "compare_dependence", "compare_marginals"]

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Marginal:
    """One column's shares, synthetic beside noisy.

    Attributes:
      name: the column.
      labels: one a cell: a code, or several neighbours of a fine axis; bins of an axis come first.
      ordered: how many cells lie on one axis.
      synthetic: share of each cell in the synthetic rows.
      noisy: share of each code in the noisy sums; noise may make some negative.
      errors: standard deviation of each noisy share.
      distance: total variation between the two.
      expected: mean of that distance if only noise and the number of rows made it.
    """

    name: str
    labels: tuple[str, ...]
    ordered: int
    synthetic: tuple[float, ...]
    noisy: tuple[float, ...]
    errors: tuple[float, ...]
    distance: float
    expected: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependence:
    """Cramér's V of each pair of columns, in [0, 1]; None where the noisy sums hold no pair.

    Attributes:
      names: the columns.
      synthetic: one row a column.
      noisy: likewise.
      measured: "pairs", "label" (pairs with the label alone) or "none".
    """

    names: tuple[str, ...]
    synthetic: tuple[tuple[float | None, ...], ...]
    noisy: tuple[tuple[float | None, ...], ...]
    measured: str


def compare_marginals(frame: pd.DataFrame, statistics: NoisyMarginals) -> list[Marginal]:
    """Compares each column's marginal; the largest distance comes first.

    Args:
      frame: synthetic rows, in the types of the schema.
      statistics: the noisy sums over sites.
    """
    encoding = statistics.encoding
    codes = encoding.encode(frame).codes
    total = statistics.total()
    marginals = []
    features = {block.name: position for position, block in enumerate(encoding.features)}
    one_way = [statistics.one_way(label) for label in range(encoding.num_classes)]
    cell_std = statistics.column_std()
    for block in encoding.blocks:
        counted = np.bincount(codes[:, block.index], minlength=block.size)
        levels = statistics.axis_levels(features[block.name]) if block.name in features else []
        if levels:
            marginals.append(_of_fine_axis(block, levels, counted, statistics))
            continue
        if block.name in features:
            position = features[block.name]
            start = encoding.features[position].start
            noisy = np.sum([parts[position] for parts in one_way], axis=0)
            std = cell_std[start : start + block.size]
        else:
            noisy = statistics.class_counts()
            std = np.full(block.size, statistics.count_std())
        ordered = block.num_bins if block.ordered else 0
        shares = (counted, noisy / total, std / total)
        marginals.append(_marginal(block.name, block.labels, ordered, *shares))
    return sorted(marginals, key=lambda marginal: -marginal.distance)


def compare_dependence(frame: pd.DataFrame, statistics: NoisyMarginals) -> Dependence:
    """Compares how strongly columns depend on each other.

    Bins of an ordered column are joined into at most eight groups of equal synthetic share, the
    same on both sides; V is corrected for the number of rows, and for the noise.

    Args:
      frame: synthetic rows, in the types of the schema.
      statistics: the noisy sums over sites.
    """
    encoding = statistics.encoding
    codes = encoding.encode(frame).codes
    groupings = [grouping_of(block, codes, statistics) for block in encoding.blocks]
    names = encoding.schema.names
    synthetic: list[list[float | None]] = [[None] * len(names) for _ in names]
    noisy: list[list[float | None]] = [[None] * len(names) for _ in names]
    rows = len(frame)
    for a in range(len(names)):
        synthetic[a][a] = noisy[a][a] = 1.0
        for b in range(a):
            shares = synthetic_counts(groupings[a], groupings[b], codes, encoding) / max(rows, 1)
            margins = (shares.sum(axis=1), shares.sum(axis=0))
            value = _cramers_v(shares, margins, 1.0 / max(rows, 1), None)
            synthetic[a][b] = synthetic[b][a] = value
    total = statistics.total()
    one_way = noisy_margins(statistics, groupings)
    tables = noisy_tables(statistics, groupings)
    for table in tables:
        a, b = table.columns
        margins = (one_way[a], one_way[b])
        value = _cramers_v(table.counts / total, margins, 0.0, table.variances / total**2)
        noisy[a][b] = noisy[b][a] = value
    measured = "none" if not tables else "pairs" if statistics.has_pairs else "label"
    return Dependence(
        names=names,
        synthetic=tuple(tuple(row) for row in synthetic),
        noisy=tuple(tuple(row) for row in noisy),
        measured=measured,
    )


def _of_fine_axis(
    block: Block, levels: Sequence[Array], counted: Array, statistics: NoisyMarginals
) -> Marginal:
    """Compares a column on cells that are no finer than usual; single ones drown in noise."""
    encoding, bins = statistics.encoding, block.num_bins
    column, grid = encoding.schema.columns[block.index], encoding.grids[block.index]
    assert grid is not None
    depth = next(d for d, level in enumerate(levels) if len(level) <= DEFAULT_BINS)
    firsts = np.arange(0, bins, BRANCHING**depth)
    labels = [
        range_label(column, grid, first, min(first + BRANCHING**depth, bins) - 1)
        for first in firsts.tolist()
    ]
    start = next(feature.start for feature in encoding.features if feature.name == block.name)
    apart = statistics.looked_codes()[start + bins : start + block.size]
    noisy = np.concatenate([levels[depth], apart]) / statistics.total()
    synthetic = np.concatenate([np.add.reduceat(counted[:bins], firsts), counted[bins:]])
    std = np.full(len(noisy), statistics.look_std / statistics.total())
    return _marginal(
        block.name, (*labels, *block.labels[bins:]), len(firsts), synthetic, noisy, std
    )


def _marginal(
    name: str, labels: tuple[str, ...], ordered: int, counted: Array, noisy: Array, std: Array
) -> Marginal:
    rows = max(int(counted.sum()), 1)
    shares = counted / rows
    per_cell = np.sqrt(std**2 + shares * (1 - shares) / rows)
    return Marginal(
        name=name,
        labels=labels,
        ordered=ordered,
        synthetic=tuple(float(share) for share in shares),
        noisy=tuple(float(share) for share in noisy),
        errors=tuple(float(error) for error in std),
        distance=min(float(np.abs(shares - noisy).sum() / 2), 1.0),
        expected=min(float(per_cell.sum() / math.sqrt(2 * math.pi)), 1.0),
    )


def _cramers_v(
    shares: Array, margins: tuple[Array, Array], per_row: float, variance: Array | None
) -> float:
    """Returns Cramér's V of a table of shares, less what rows and noise alone would give.

    With noise, a V within three standard deviations of what noise alone gives counts as 0.
    """
    expected = np.outer(*margins)
    floor = 1e-12 if variance is None else np.maximum(3 * np.sqrt(variance), 1e-12)
    kept = expected > floor
    rows, columns = int(kept.any(axis=1).sum()), int(kept.any(axis=0).sum())
    degrees = min(rows - 1, columns - 1)
    if degrees < 1:
        return 0.0
    squares = (shares - expected) ** 2
    if variance is not None:
        squares = squares - variance
    phi = float((squares[kept] / expected[kept]).sum()) - (rows - 1) * (columns - 1) * per_row
    if variance is not None:
        noise = variance[kept] / expected[kept]
        if phi < 3 * math.sqrt(2 * float((noise**2).sum())):
            return 0.0
    return math.sqrt(min(max(phi / degrees, 0.0), 1.0))
