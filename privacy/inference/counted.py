"""The noisy tables of counts that a study bought, each by the columns that it tells together.

Every statistic of a study is a set of such tables: one-way counts within the label's classes are
tables of the label and a column, pairs within classes are tables of three columns. An analysis asks
for a table that holds certain columns, and adds up over the others; what a new statistic counts is
a new table here, and nothing else changes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.common.column_marginals import ColumnMarginals
from fedloom.common.encoding import Block, Encoding
from fedloom.common.grid import Grid
from fedloom.common.marginals import NoisyMarginals, OneWayMarginals
from fedloom.common.three_way_marginals import ThreeWayMarginals
from fedloom.privacy.inference.axis import adaptive_cells, wider_cells
from fedloom.privacy.inference.blended import BlendedCounts
from fedloom.privacy.inference.counted_table import CountedTable
from fedloom.privacy.inference.margins import raw_shares, smooth_shares
from fedloom.privacy.inference.pairs import PairCounts

__all__ = ["CountedTables", "counted_tables"]

Array = NDArray[Any]

# A column or a pair is read from at most so many tables beside its finest, those of least noise.
_MOST = 6
# Variance of the noise in a count that a table does not have.
_UNTOLD = 1e18


class CountedTables:
    """All tables of a study.

    Attributes:
      encoding: the public encoding.
      tables: the tables.
    """

    def __init__(self, statistics: NoisyMarginals) -> None:
        """Takes the opened sums of a study."""
        self.encoding = statistics.encoding
        self.tables = tuple(counted_tables(statistics))
        self._shares: dict[str, Array] = {}
        self._columns: dict[str, BlendedCounts] = {}
        self._pairs: dict[tuple[int, str, str], PairCounts] = {}

    def holding(self, columns: Collection[str]) -> list[int]:
        """Returns the numbers of the tables that hold all of these columns."""
        wanted = set(columns)
        return [number for number, table in enumerate(self.tables) if wanted <= set(table.columns)]

    def block(self, column: str) -> Block:
        """Returns the cells of a column.

        Raises:
          SchemaError: the schema has no such column.
        """
        schema = self.encoding.schema
        return self.encoding.blocks[schema.names.index(schema.column(column).name)]

    def finest(self, column: str) -> int:
        """Returns the number of the table that tells a column alone best.

        A table of the column alone, as a fine axis may be cut there into fewer cells than there are
        groups in a pair, each of less noise; then by cells, then noise.
        """

        def rank(number: int) -> tuple[bool, int, float]:
            table = self.tables[number]
            alone = table.columns == (column,)
            return not alone, -table.counts.shape[table.axis(column)], float(table.variances.sum())

        return min(self.holding({column}), key=rank)

    def shares(self, column: str) -> Array:
        """Returns the likely share of each cell of a column, (cells,): none is negative.

        A numeric axis is smoothed (`margins`).
        """
        if column not in self._shares:
            table = self.tables[self.finest(column)]
            counts, variances = table.margin(column)
            grid = self.encoding.grids[self.block(column).index]
            if grid is None:
                self._shares[column] = raw_shares(counts)
            else:
                widths, places = _widths(grid), table.places[table.axis(column)]
                whole = np.bincount(places[: grid.size], widths)
                found = smooth_shares(counts, whole, float(variances.mean()))
                self._shares[column] = found[places] * _within_places(places, widths, whole)
        return self._shares[column]

    def column(self, column: str) -> BlendedCounts:
        """Returns a column's counts as all tables of little noise tell them."""
        if column not in self._columns:
            used = self.sharpest({column}, self.finest(column))
            counts = {number: self.tables[number].margin(column) for number in used}
            places = {
                number: self.tables[number].places[self.tables[number].axis(column)]
                for number in used
            }
            records = max(float(counts[used[0]][0].sum()), 0.0)
            self._columns[column] = BlendedCounts(places, counts, self.shares(column) * records)
        return self._columns[column]

    def pair(self, finest: int, one: str, other: str) -> PairCounts:
        """Returns the counts of a pair as all tables of little noise tell them.

        Args:
          finest: number of the table on whose groups they are wanted.
          one: a column.
          other: another.
        """
        key = (finest, one, other)
        if key not in self._pairs:
            used = {number: self.tables[number] for number in self.sharpest({one, other}, finest)}
            shares = self.shares(one), self.shares(other)
            self._pairs[key] = PairCounts(used, (one, other), shares)
        return self._pairs[key]

    def sharpest(self, columns: Collection[str], first: int) -> list[int]:
        """Returns the tables of least noise that hold some columns, a given one before them.

        They follow from noise and sizes alone, not from what was counted.
        """
        noise = {
            number: float(self.tables[number].margin(*columns)[1].min())
            for number in self.holding(columns)
            if number != first
        }
        return [first, *sorted(noise, key=lambda number: noise[number])[:_MOST]]


def counted_tables(statistics: NoisyMarginals) -> Iterator[CountedTable]:
    """Yields the tables that the opened sums hold."""
    encoding, target = statistics.encoding, statistics.encoding.target
    looked = (OneWayMarginals if statistics.by_class else ColumnMarginals)(encoding)
    classes, cells = looked.rows(statistics.look)
    layout = _Layout(encoding)
    if target is not None:
        yield layout.table(classes, (), statistics.look_std)
    for block in encoding.features:
        counts = cells[..., block.start : block.start + block.size]
        if statistics.by_class:
            yield layout.table(counts, ((block, np.arange(block.size)),), statistics.look_std)
        else:
            yield from _column_tables(statistics, block, counts)
    yield from _triples(statistics, layout)
    yield from _class_columns(statistics, layout)
    if not statistics.has_pairs:
        return
    groups = statistics.groups
    assert groups is not None and statistics.pair_std is not None
    by_class = [dict(statistics.tables(label)) for label in range(encoding.num_classes)]
    for a, b in by_class[0]:
        parts = tuple(
            (block, groups[block.start : block.start + block.size].astype(np.int64))
            for block in (encoding.features[a], encoding.features[b])
        )
        counts = np.stack([tables[a, b] for tables in by_class])
        yield layout.table(counts, parts, statistics.pair_std)


def _column_tables(
    statistics: NoisyMarginals, block: Block, counts: Array
) -> Iterator[CountedTable]:
    """Yields the table of a column alone, and those of the wider levels of a fine axis.

    The first has cells of the width that tells most.
    """
    std = statistics.look_std
    places = np.arange(block.size)
    levels = statistics.axis_levels(statistics.encoding.features.index(block))
    grid = statistics.encoding.grids[block.index]
    if levels and grid is not None:
        beside = counts[grid.size :]
        for at, found in wider_cells(levels, grid.size):
            # Wider cells do not count what lies beside the axis; the last place stands for that.
            yield CountedTable(
                columns=(block.name,),
                places=(np.append(at, np.full(len(beside), len(found))),),
                counts=np.append(found, 0.0),
                variances=np.append(np.full(len(found), std**2), _UNTOLD),
            )
        at, found = adaptive_cells(levels, _widths(grid), std**2)
        places = np.concatenate([at, len(found) + np.arange(len(beside))])
        counts = np.concatenate([found, beside])
    yield CountedTable(
        columns=(block.name,),
        places=(places,),
        counts=counts.astype(np.float64),
        variances=np.full(len(counts), std**2),
    )


def _widths(grid: Grid) -> Array:
    widths: Array = grid.stops - grid.starts + float(grid.discrete)
    return widths


def _within_places(places: Array, widths: Array, whole: Array) -> Array:
    """Returns each cell's part of the place that it lies in; the parts of a place add up to one.

    Args:
      places: of each cell, those of the axis first.
      widths: of the cells of the axis.
      whole: width of each place of the axis.
    """
    on_axis, beside = places[: len(widths)], places[len(widths) :]
    sharing = np.bincount(beside, minlength=len(whole))[beside]
    # A place that the axis reaches is the axis's: what lies beside it there weighs next to nothing.
    parts: Array = np.append(
        widths / whole[on_axis], np.where(beside < len(whole), 0.0, 1.0 / sharing)
    )
    return parts


def _class_columns(statistics: NoisyMarginals, layout: _Layout) -> Iterator[CountedTable]:
    counted, groups = statistics.class_columns, statistics.groups
    if counted is None or groups is None:
        return
    for block, counts in zip(statistics.encoding.features, counted.counts, strict=True):
        part = groups[block.start : block.start + block.size].astype(np.int64)
        yield layout.table(counts, ((block, part),), counted.std)


def _triples(statistics: NoisyMarginals, layout: _Layout) -> Iterator[CountedTable]:
    triples, features = statistics.triples, statistics.encoding.features
    if triples is None:
        return
    measured = ThreeWayMarginals(statistics.encoding, triples.groups)
    by_class = [dict(measured.tables.split(row)) for row in triples.counts]
    for columns in measured.tables.columns:
        blocks = [features[place] for place in columns]
        parts = tuple(
            (block, triples.groups[block.start : block.start + block.size].astype(np.int64))
            for block in blocks
        )
        yield layout.table(np.stack([one[columns] for one in by_class]), parts, triples.std)


class _Layout:
    """Turns counts within classes into a table whose axes are different columns."""

    def __init__(self, encoding: Encoding) -> None:
        self._target = encoding.target
        self._class_of_cell = encoding.class_of_cell

    def table(
        self, counts: Array, parts: tuple[tuple[Block, Array], ...], std: float
    ) -> CountedTable:
        """Returns the table of the classes (first axis of `counts`) and the columns of `parts`."""
        counts = np.asarray(counts, dtype=np.float64)
        columns = tuple(block.name for block, _ in parts)
        places = tuple(place for _, place in parts)
        variances = np.full(counts.shape, std**2)
        if self._target is None:
            counts, variances = counts[0], variances[0]
        elif self._target in columns:
            axis = columns.index(self._target)
            counts, variances = self._within(counts, variances, axis, places[axis])
        else:
            columns, places = (self._target, *columns), (self._class_of_cell, *places)
        return CountedTable(columns=columns, places=places, counts=counts, variances=variances)

    def _within(
        self, counts: Array, variances: Array, axis: int, places: Array
    ) -> tuple[Array, Array]:
        """Adds up a numeric target's own classes: in all others its cells are truly empty."""
        own = np.zeros((counts.shape[0], counts.shape[axis + 1]))
        own[self._class_of_cell, places] = 1.0
        shape = [counts.shape[0], *[1] * (counts.ndim - 1)]
        shape[axis + 1] = counts.shape[axis + 1]
        kept = own.reshape(shape)
        return (counts * kept).sum(axis=0), (variances * kept).sum(axis=0)
