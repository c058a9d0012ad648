"""Noisy tables of two columns on a few groups each, and the same of synthetic rows.

Bins of an ordered column are joined into at most eight groups of equal synthetic share, the same on
both sides, and never across the groups on which pairs were counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fedloom.common.encoding import Block, Encoding
from fedloom.common.marginals import NoisyMarginals

__all__ = [
    "GroupedTable",
    "Grouping",
    "grouping_of",
    "groups_of_rows",
    "noisy_margins",
    "noisy_tables",
    "synthetic_counts",
]

_GROUPS = 8
Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouping:
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


def grouping_of(block: Block, codes: Array, statistics: NoisyMarginals) -> Grouping:
    """Joins bins into at most eight groups of equal synthetic share, and never splits a group."""
    encoding = statistics.encoding
    if block.name == encoding.target:
        classes = np.arange(encoding.num_classes)
        return Grouping(
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
    return Grouping(
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


def groups_of_rows(grouping: Grouping, codes: Array, encoding: Encoding) -> Array:
    """Returns the group of each synthetic row."""
    if grouping.label:
        return encoding.classes(codes).astype(np.int64)
    groups: Array = grouping.of_cells[codes[:, grouping.index]].astype(np.int64)
    return groups


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class GroupedTable:
    """A noisy table of two columns.

    Attributes:
      columns: positions of the two in the schema.
      counts: noisy records by group of the first and of the second.
      variances: of the noise in each.
    """

    columns: tuple[int, int]
    counts: Array
    variances: Array


def noisy_tables(statistics: NoisyMarginals, groupings: list[Grouping]) -> list[GroupedTable]:
    """Returns the table of each pair of columns that was counted, those with the label first."""
    tables = _label_tables(statistics, groupings)
    return tables + _pair_tables(statistics, groupings) if statistics.has_pairs else tables


def synthetic_counts(one: Grouping, other: Grouping, codes: Array, encoding: Encoding) -> Array:
    """Returns the rows by group of two columns."""
    cells = groups_of_rows(one, codes, encoding) * other.size
    cells = cells + groups_of_rows(other, codes, encoding)
    counts: Array = np.bincount(cells, minlength=one.size * other.size)
    return counts.reshape(one.size, other.size)


def _pair_tables(statistics: NoisyMarginals, groupings: list[Grouping]) -> list[GroupedTable]:
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
        found.append(
            GroupedTable(
                columns=(rows.index, columns.index),
                counts=_joined(table, *maps, shape),
                variances=variances,
            )
        )
    return found


def _label_tables(statistics: NoisyMarginals, groupings: list[Grouping]) -> list[GroupedTable]:
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
        cells, of = variance[block.start : block.start + block.size], column.of_cells
        if statistics.groups is not None:
            groups = statistics.groups[block.start : block.start + block.size].astype(np.int64)
            table = np.stack([np.bincount(groups, counts) for counts in table])
            cells, of = statistics.group_variances(position), column.of_counted
        cells = np.broadcast_to(cells, table.shape)
        maps, shape = (label.of_cells, of), (label.size, column.size)
        found.append(
            GroupedTable(
                columns=(label.index, column.index),
                counts=_joined(table, *maps, shape),
                variances=_joined(cells, *maps, shape),
            )
        )
    return found


def noisy_margins(statistics: NoisyMarginals, groupings: list[Grouping]) -> list[Array]:
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
