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
from fedloom.common.marginals import NoisyMarginals

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
        if block.name in features:
            position = features[block.name]
            start = encoding.features[position].start
            noisy = np.sum([parts[position] for parts in one_way], axis=0)
            std = cell_std[start : start + block.size]
        else:
            noisy = statistics.class_counts()
            std = np.full(block.size, statistics.count_std())
        marginals.append(_marginal(block, counted, noisy / total, std / total))
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
    groupings = [_grouping(block, codes, statistics) for block in encoding.blocks]
    names = encoding.schema.names
    synthetic: list[list[float | None]] = [[None] * len(names) for _ in names]
    noisy: list[list[float | None]] = [[None] * len(names) for _ in names]
    rows = len(frame)
    sizes = [grouping.size for grouping in groupings]
    columns = [_labels(grouping, codes, encoding) for grouping in groupings]
    for a in range(len(names)):
        synthetic[a][a] = noisy[a][a] = 1.0
        for b in range(a):
            cells = np.bincount(
                columns[a] * sizes[b] + columns[b], minlength=sizes[a] * sizes[b]
            ).reshape(sizes[a], sizes[b])
            shares = cells / max(rows, 1)
            margins = (shares.sum(axis=1), shares.sum(axis=0))
            value = _cramers_v(shares, margins, 1.0 / max(rows, 1), None)
            synthetic[a][b] = synthetic[b][a] = value
    total = statistics.total()
    one_way = _noisy_margins(statistics, groupings)
    tables = _label_tables(statistics, groupings)
    if statistics.has_pairs:
        tables += _pair_tables(statistics, groupings)
    for a, b, joined, variance in tables:
        margins = (one_way[a], one_way[b])
        value = _cramers_v(joined / total, margins, 0.0, variance / total**2)
        noisy[a][b] = noisy[b][a] = value
    measured = "none" if not tables else "pairs" if statistics.has_pairs else "label"
    return Dependence(
        names=names,
        synthetic=tuple(tuple(row) for row in synthetic),
        noisy=tuple(tuple(row) for row in noisy),
        measured=measured,
    )


def _marginal(block: Block, counted: Array, noisy: Array, std: Array) -> Marginal:
    rows = max(int(counted.sum()), 1)
    shares = counted / rows
    per_cell = np.sqrt(std**2 + shares * (1 - shares) / rows)
    return Marginal(
        name=block.name,
        labels=tuple(block.labels),
        ordered=block.num_bins if block.ordered else 0,
        synthetic=tuple(float(share) for share in shares),
        noisy=tuple(float(share) for share in noisy),
        errors=tuple(float(error) for error in std),
        distance=min(float(np.abs(shares - noisy).sum() / 2), 1.0),
        expected=min(float(per_cell.sum() / math.sqrt(2 * math.pi)), 1.0),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Grouping:
    """How the cells of a column are joined for its dependence on others.

    Attributes:
      index: position of the column in the schema.
      of_cells: group of each cell of the column, or of each class if it is the label.
      of_counted: group of each group that the noisy pairs were counted on.
      size: number of groups.
      label: whether the column is the label.
    """

    index: int
    of_cells: Array
    of_counted: Array
    size: int
    label: bool


def _grouping(block: Block, codes: Array, statistics: NoisyMarginals) -> _Grouping:
    """Joins bins into at most eight groups of equal synthetic share, and never splits a group."""
    encoding = statistics.encoding
    if block.name == encoding.target:
        classes = np.arange(encoding.num_classes)
        return _Grouping(
            index=block.index, of_cells=classes, of_counted=classes, size=len(classes), label=True
        )
    counted = _counted_groups(block, statistics)
    joined = np.arange(counted.max() + 1)
    if block.ordered:
        rows = np.bincount(codes[:, block.index], minlength=block.size).astype(float)
        share = np.bincount(counted, weights=rows, minlength=len(joined))
        # Groups with bins, from left to right; what holds no bin stays apart.
        bins = counted[: block.num_bins]
        binned = np.array(sorted(set(bins.tolist()), key=lambda g: int(np.argmax(bins == g))))
        before = np.cumsum(share[binned]) - share[binned] / 2
        cuts = np.minimum(before / max(share[binned].sum(), 1.0) * _GROUPS, _GROUPS - 1)
        joined[binned] = np.unique(cuts.astype(int), return_inverse=True)[1]
        apart = np.setdiff1d(np.arange(len(joined)), binned)
        joined[apart] = joined[binned].max() + 1 + np.arange(len(apart))
    return _Grouping(
        index=block.index,
        of_cells=joined[counted],
        of_counted=joined,
        size=int(joined.max()) + 1,
        label=False,
    )


def _counted_groups(block: Block, statistics: NoisyMarginals) -> Array:
    if statistics.groups is None:
        return np.arange(block.size)
    start = next(f.start for f in statistics.encoding.features if f.name == block.name)
    return statistics.groups[start : start + block.size].astype(np.int64)


def _labels(grouping: _Grouping, codes: Array, encoding: Encoding) -> Array:
    """Returns the group of each synthetic row."""
    if grouping.label:
        return encoding.classes(codes).astype(np.int64)
    groups: Array = grouping.of_cells[codes[:, grouping.index]].astype(np.int64)
    return groups


_Table = tuple[int, int, Array, Array]


def _pair_tables(statistics: NoisyMarginals, groupings: list[_Grouping]) -> list[_Table]:
    """Returns (column, column, counts by group, their variances) of each measured pair."""
    encoding = statistics.encoding
    features = encoding.features
    sums: dict[tuple[int, int], Array] = {}
    for label in range(encoding.num_classes):
        for pair, table in statistics.tables(label):
            sums[pair] = sums[pair] + table if pair in sums else table
    variance = float(statistics.pair_std or 0.0) ** 2 * encoding.num_classes
    found = []
    for (a, b), table in sums.items():
        if encoding.target in (features[a].name, features[b].name):
            continue
        rows, columns = groupings[features[a].index], groupings[features[b].index]
        maps = (rows.of_counted, columns.of_counted)
        shape = (rows.size, columns.size)
        variances = _joined(np.full(table.shape, variance), *maps, shape)
        found.append((rows.index, columns.index, _joined(table, *maps, shape), variances))
    return found


def _label_tables(statistics: NoisyMarginals, groupings: list[_Grouping]) -> list[_Table]:
    """Returns the same for each column with the label: its counts within each class."""
    encoding = statistics.encoding
    if encoding.target is None or encoding.num_classes < 2:
        return []
    label = next(grouping for grouping in groupings if grouping.label)
    one_way = [statistics.one_way(each) for each in range(encoding.num_classes)]
    variance = statistics.one_way_std() ** 2
    found = []
    for position, block in enumerate(encoding.features):
        if block.name == encoding.target:
            continue
        column = groupings[block.index]
        table = np.stack([parts[position] for parts in one_way])
        cells = np.broadcast_to(variance[block.start : block.start + block.size], table.shape)
        maps, shape = (label.of_cells, column.of_cells), (label.size, column.size)
        found.append(
            (label.index, column.index, _joined(table, *maps, shape), _joined(cells, *maps, shape))
        )
    return found


def _noisy_margins(statistics: NoisyMarginals, groupings: list[_Grouping]) -> list[Array]:
    """Returns each column's shares by group; they hold far less noise than sums over a table."""
    encoding = statistics.encoding
    features = {block.index: position for position, block in enumerate(encoding.features)}
    one_way = [statistics.one_way(label) for label in range(encoding.num_classes)]
    margins = []
    for grouping in groupings:
        if grouping.label:
            counts = statistics.class_counts()
        else:
            counts = np.sum([parts[features[grouping.index]] for parts in one_way], axis=0)
        grouped = np.zeros(grouping.size)
        np.add.at(grouped, grouping.of_cells, counts)
        grouped = np.maximum(grouped, 0.0)
        margins.append(grouped / max(float(grouped.sum()), 1e-12))
    return margins


def _joined(table: Array, rows: Array, columns: Array, shape: tuple[int, int]) -> Array:
    """Returns a table's sums over groups of rows and columns."""
    joined = np.zeros(shape)
    flat = (rows[:, None] * shape[1] + columns[None, :]).reshape(-1)
    np.add.at(joined.reshape(-1), flat, np.asarray(table, dtype=np.float64).reshape(-1))
    return joined


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
