"""What a report compares: the synthetic rows with the noisy statistics, never with records.

Everything here is post-processing of the noisy sums and of the synthetic rows. Each comparison
says how large it would be if the generator were perfect and only the known noise and the finite
number of synthetic rows were at work.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from fedloom.common.encoding import Block, Encoding
from fedloom.common.statistics import NoisyStatistics, Pairwise

__all__ = ["Dependence", "Marginal", "compare_dependence", "compare_marginals"]

_GROUPS = 8
Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Marginal:
    """One column's shares, synthetic beside noisy.

    Attributes:
      name: the column.
      labels: one a code; the bins of an ordered column come first.
      ordered: how many codes are bins of one axis.
      synthetic: share of each code in the synthetic rows.
      noisy: share of each code in the noisy sums; noise may make some negative.
      error: standard deviation of each noisy share.
      distance: total variation between the two.
      expected: mean of that distance if only noise and the number of rows made it.
    """

    name: str
    labels: tuple[str, ...]
    ordered: int
    synthetic: tuple[float, ...]
    noisy: tuple[float, ...]
    error: float
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


def compare_marginals(frame: pd.DataFrame, statistics: NoisyStatistics) -> list[Marginal]:
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
    for block in encoding.blocks:
        counted = np.bincount(codes[:, block.index], minlength=block.size)
        if block.name in features:
            position = features[block.name]
            noisy = np.sum([parts[position] for parts in one_way], axis=0)
            std = _one_way_std(statistics, position) * math.sqrt(encoding.num_classes)
        else:
            noisy, std = statistics.class_counts(), statistics.count_std()
        marginals.append(_marginal(block, counted, noisy / total, std / total))
    return sorted(marginals, key=lambda marginal: -marginal.distance)


def compare_dependence(frame: pd.DataFrame, statistics: NoisyStatistics) -> Dependence:
    """Compares how strongly columns depend on each other.

    Bins of an ordered column are joined into at most eight groups of equal synthetic share, the
    same on both sides; V is corrected for the number of rows, and for the noise.

    Args:
      frame: synthetic rows, in the types of the schema.
      statistics: the noisy sums over sites.
    """
    encoding = statistics.encoding
    codes = encoding.encode(frame).codes
    grouped, maps = _grouped(codes, encoding)
    names = encoding.schema.names
    synthetic: list[list[float | None]] = [[None] * len(names) for _ in names]
    noisy: list[list[float | None]] = [[None] * len(names) for _ in names]
    rows = len(frame)
    sizes = [int(column.max()) + 1 if rows else 1 for column in maps]
    for a in range(len(names)):
        synthetic[a][a] = noisy[a][a] = 1.0
        for b in range(a):
            cells = np.bincount(
                grouped[a] * sizes[b] + grouped[b], minlength=sizes[a] * sizes[b]
            ).reshape(sizes[a], sizes[b])
            shares = cells / max(rows, 1)
            margins = (shares.sum(axis=1), shares.sum(axis=0))
            value = _cramers_v(shares, margins, 1.0 / max(rows, 1), None)
            synthetic[a][b] = synthetic[b][a] = value
    measured, total = "none", statistics.total()
    one_way = _noisy_margins(statistics, maps, sizes)
    for a, b, table, variance in _noisy_tables(statistics):
        joined, merged = _join(table, maps[a], maps[b], sizes[a], sizes[b])
        margins = (one_way[a], one_way[b])
        value = _cramers_v(joined / total, margins, 0.0, variance * merged / total**2)
        noisy[a][b] = noisy[b][a] = value
        measured = "pairs" if statistics.kind == "pairwise" else "label"
    return Dependence(
        names=names,
        synthetic=tuple(tuple(row) for row in synthetic),
        noisy=tuple(tuple(row) for row in noisy),
        measured=measured,
    )


def _marginal(block: Block, counted: Array, noisy: Array, std: float) -> Marginal:
    rows = max(int(counted.sum()), 1)
    shares = counted / rows
    per_cell = np.sqrt(std**2 + shares * (1 - shares) / rows)
    return Marginal(
        name=block.name,
        labels=tuple(block.labels),
        ordered=block.num_bins if block.ordered else 0,
        synthetic=tuple(float(share) for share in shares),
        noisy=tuple(float(share) for share in noisy),
        error=std,
        distance=min(float(np.abs(shares - noisy).sum() / 2), 1.0),
        expected=min(float(per_cell.sum() / math.sqrt(2 * math.pi)), 1.0),
    )


def _one_way_std(statistics: NoisyStatistics, position: int) -> float:
    """Returns the standard deviation of a block's count within one class."""
    if not isinstance(statistics.statistic, Pairwise):
        return statistics.noise_std
    blocks = statistics.encoding.features
    weight = 1.0 + sum(1.0 / block.size for i, block in enumerate(blocks) if i != position)
    return statistics.noise_std / math.sqrt(weight)


def _grouped(codes: Array, encoding: Encoding) -> tuple[list[Array], list[Array]]:
    """Returns each column's group numbers, and the map from code to group."""
    grouped, maps = [], []
    for block in encoding.blocks:
        if block.name == encoding.target:
            grouped.append(encoding.classes(codes).astype(np.int64))
            maps.append(np.arange(encoding.num_classes))
            continue
        bins = block.num_bins
        mapping = np.arange(block.size)
        if block.ordered:
            share = np.bincount(codes[:, block.index], minlength=block.size)[:bins].astype(float)
            before = np.cumsum(share) - share / 2
            cuts = np.minimum(before / max(share.sum(), 1.0) * _GROUPS, _GROUPS - 1).astype(int)
            mapping[:bins] = np.unique(cuts, return_inverse=True)[1]
            mapping[bins:] = mapping[bins - 1] + 1 + np.arange(block.size - bins)
        grouped.append(mapping[codes[:, block.index]].astype(np.int64))
        maps.append(mapping)
    return grouped, maps


def _noisy_tables(statistics: NoisyStatistics) -> list[tuple[int, int, Array, float]]:
    """Returns (column, column, counts, variance of a count) of each measured pair."""
    encoding = statistics.encoding
    measured = statistics.statistic
    features = encoding.features
    found = []
    if isinstance(measured, Pairwise):
        sums: dict[tuple[int, int], Array] = {}
        for label in range(encoding.num_classes):
            for pair, table in measured.tables(statistics.vector, label):
                sums[pair] = sums[pair] + table if pair in sums else table
        variance = statistics.noise_std**2 * encoding.num_classes
        for (a, b), table in sums.items():
            names = {features[a].name, features[b].name}
            if encoding.target not in names:
                found.append((features[a].index, features[b].index, table, variance))
    if encoding.target is not None and encoding.num_classes > 1:
        label_index = encoding.schema.names.index(encoding.target)
        per_class = [statistics.one_way(label) for label in range(encoding.num_classes)]
        for position, block in enumerate(features):
            if block.name != encoding.target:
                table = np.stack([parts[position] for parts in per_class])
                variance = _one_way_std(statistics, position) ** 2
                found.append((label_index, block.index, table, variance))
    return found


def _noisy_margins(statistics: NoisyStatistics, maps: list[Array], sizes: list[int]) -> list[Array]:
    """Returns each column's shares by group; they hold far less noise than sums over a table."""
    encoding = statistics.encoding
    features = {block.name: position for position, block in enumerate(encoding.features)}
    one_way = [statistics.one_way(label) for label in range(encoding.num_classes)]
    margins = []
    for block, mapping, size in zip(encoding.blocks, maps, sizes, strict=True):
        if block.name == encoding.target:
            counts = statistics.class_counts()
        else:
            counts = np.sum([parts[features[block.name]] for parts in one_way], axis=0)
        grouped = np.zeros(size)
        np.add.at(grouped, mapping, counts)
        grouped = np.maximum(grouped, 0.0)
        margins.append(grouped / max(float(grouped.sum()), 1e-12))
    return margins


def _join(table: Array, rows: Array, columns: Array, r: int, c: int) -> tuple[Array, Array]:
    """Returns the table summed over groups, and how many cells went into each."""
    joined, merged = np.zeros((r, c)), np.zeros((r, c))
    flat = (rows[:, None] * c + columns[None, :]).reshape(-1)
    np.add.at(joined.reshape(-1), flat, table.reshape(-1))
    np.add.at(merged.reshape(-1), flat, 1.0)
    return joined, merged


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
