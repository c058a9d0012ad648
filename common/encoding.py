"""Records as one-hot blocks: the meeting point of tables, statistics and models.

Each column is one block of cells: its bins or categories, each special value, missing (if the
column is nullable), other. Every record has exactly one 1 in every block, whatever it holds:
numbers outside the bounds are clamped, everything else that does not fit goes to `other`. Of a set
the block holds the number of its items; the items themselves follow the codes
(`fedloom.common.item_blocks`). So a
record touches exactly m (m + 1) / 2 cells of the upper triangle of one class's Gram matrix, m
being the number of blocks beside the label, and encoding one record depends on no other.

An encoding is a function of the public schema and the target; nothing is fitted on records.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fedloom.common.cells import axis_value
from fedloom.common.code_hierarchy import code_levels
from fedloom.common.coding import encode_column
from fedloom.common.decoding import draw_values, typed_column
from fedloom.common.errors import DataError, SchemaError
from fedloom.common.grid import DEFAULT_BINS, Grid, integer_grid, real_grid
from fedloom.common.item_blocks import item_blocks
from fedloom.common.records import Coded
from fedloom.common.schema import Column, Schema

__all__ = [
    "MAX_TARGET_BINS",
    "Block",
    "EncodedTable",
    "Encoding",
    "column_grid",
    "range_label",
]

MAX_TARGET_BINS = 10
_MISSING_LABEL = "(missing)"
_OTHER_LABEL = "(other)"

Codes = npt.NDArray[np.int32]
Classes = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Block:
    """The cells of one column.

    Attributes:
      name: The column's name.
      index: The column's position in the schema.
      start: Position of the first cell among the cells of all blocks of its list.
      size: Number of cells.
      labels: One for each cell, for people.
      ordered: Whether the bins lie on an axis; they come first, from left to right.
      sampleable: Whether a cell may appear in synthetic records.
      num_bins: How many of the cells are bins or categories; they come first.
      levels: The levels above a category's values, the finest first: the node of each value.
    """

    name: str
    index: int
    start: int
    size: int
    labels: tuple[str, ...]
    ordered: bool
    sampleable: tuple[bool, ...]
    num_bins: int
    levels: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class EncodedTable:
    """Records as codes, and what did not fit; the counts are private.

    Attributes:
      codes: Cell of each record in each column's block, (N, columns), int32.
      items: The items of all sets of each record, (N, item_places), int32; -1 for none.
      clamped: Per column, how many numbers were moved into the bounds or to whole numbers, and how
        many sets were cut.
      unknown: Per column, how many values were unreadable or outside the categories.
      missing: Per column, how many values were missing.
    """

    codes: Codes
    items: Codes
    clamped: dict[str, int]
    unknown: dict[str, int]
    missing: dict[str, int]


class Encoding:
    """Turns records into codes and back.

    Attributes:
      schema: The public schema.
      target: Name of the label column, or None.
      blocks: One block a column, in the schema's order.
      features: The blocks that are modelled within a class: all columns, except the target if it
        is a category. Their `start` counts within this list.
      width: Number of cells of all features, D.
      sets: The items of each set column, which follow the codes of the features.
      grids: The public grid of each column, in the schema's order; None for a category.
      class_labels: Name of each class; `class_sampleable` says which may be synthesised.
      class_of_cell: Class of each cell of the target's block; one cell without a target.
    """

    def __init__(
        self, schema: Schema, target: str | None = None, *, default_bins: int = DEFAULT_BINS
    ) -> None:
        """Builds the encoding of `schema`, with `target` as the label column.

        Args:
          schema: The public schema.
          target: Name of the label column, or None.
          default_bins: Size of an axis's grid where its column does not say it.

        Raises:
          SchemaError: there is no such column, or none beside it, or a column is open.
        """
        for column in schema.open_columns:
            what = "values" if column.kind == "category" else "bounds"
            raise SchemaError(
                f"column '{column.name}' is open ({what} = \"private\"): run a study with [model] "
                'kind = "schema" first (`fedloom schema learn`) and use the schema that it learns, '
                "or fill in public numbers or categories"
            )
        self.schema = schema
        self.target = target
        self.grids = tuple(column_grid(column, default_bins) for column in schema.columns)
        self.blocks = _blocks(schema, self.grids, range(len(schema.columns)))
        self._target = None if target is None else schema.names.index(schema.column(target).name)
        if target is not None and schema.column(target).kind == "set":
            raise SchemaError(f"target '{target}' is a set; a label is a single value")
        categorical = self._target is not None and self.grids[self._target] is None
        self._feature_indices = tuple(
            index
            for index in range(len(schema.columns))
            if not (categorical and index == self._target)
        )
        if not self._feature_indices and schema.kind.only_columns:
            raise SchemaError(f"column '{target}' is the only one; a target needs others beside it")
        self.features = _blocks(schema, self.grids, self._feature_indices)
        self.width = sum(block.size for block in self.features)
        self.sets = item_blocks(schema, [block.index for block in self.features])
        self.class_of_cell, self.class_labels, self.class_sampleable = self._make_classes()

    @property
    def num_classes(self) -> int:
        """The number of classes; 1 without a target."""
        return len(self.class_labels)

    @property
    def record_shape(self) -> tuple[int, ...]:
        """One code for each feature, and a place for each item that sets may have."""
        return (len(self.features) + self.item_places,)

    @property
    def item_places(self) -> int:
        """How many items all sets of a record may have together."""
        return sum(block.most for block in self.sets)

    @property
    def num_items(self) -> int:
        """How many items all sets know together."""
        return sum(block.size for block in self.sets)

    @property
    def record_type(self) -> str:
        """Codes are int32."""
        return "int32"

    def coded(self, private_frame: pd.DataFrame) -> Coded:
        """Codes records: feature codes, then items; see `fedloom.common.records.base.Coder`.

        Raises:
          DataError: a column of the schema is missing.
        """
        encoded = self.encode(private_frame)
        return Coded(
            features=np.hstack([self.feature_codes(encoded.codes), encoded.items]),
            classes=self.classes(encoded.codes),
            clamped=encoded.clamped,
            unknown=encoded.unknown,
        )

    def encode(self, private_frame: pd.DataFrame) -> EncodedTable:
        """Encodes records; values that do not fit never raise.

        Raises:
          DataError: a column of the schema is missing.
        """
        absent = [name for name in self.schema.names if name not in private_frame.columns]
        if absent:
            raise DataError(
                f"the table has no column '{absent[0]}'; add it, or remove it from the schema"
            )
        codes = np.empty((len(private_frame), len(self.blocks)), dtype=np.int32)
        items = [np.empty((len(private_frame), 0), dtype=np.int32)]
        clamped, unknown, missing = {}, {}, {}
        for column, grid, block in zip(self.schema.columns, self.grids, self.blocks, strict=True):
            found = encode_column(column, grid, block, private_frame[column.name])
            codes[:, block.index] = found.codes
            items.append(found.items)
            clamped[column.name], unknown[column.name] = found.clamped, found.unknown
            missing[column.name] = found.missing
        return EncodedTable(codes, np.hstack(items), clamped, unknown, missing)

    def classes(self, codes: Codes) -> Classes:
        """Returns the class of each record, (N,), from the codes of all columns."""
        if self._target is None:
            return np.zeros(len(codes), dtype=np.int64)
        return self.class_of_cell[codes[:, self._target]]

    def feature_codes(self, codes: Codes) -> Codes:
        """Returns the codes of the features, (N, m), from the codes of all columns."""
        return np.ascontiguousarray(codes[:, list(self._feature_indices)])

    def decode(
        self,
        feature_codes: npt.NDArray[Any],
        classes: npt.NDArray[Any],
        rng: np.random.Generator,
    ) -> pd.DataFrame:
        """Turns codes into records of the schema's types and order.

        Within a bin every value is equally likely; special values are exact; missing cells are
        missing, and so are `other` cells of columns without an `other` label. Where the cell of a
        numeric target does not belong to the record's class, it is drawn anew within the class.

        Args:
          feature_codes: (N, m + item_places), as the features of `coded`.
          classes: (N,), as of `classes`.
          rng: Source of the draws within bins; needs no secrecy.
        """
        codes = self.column_codes(feature_codes, classes, rng)
        items = self.items_of(feature_codes)
        parts = zip(self.schema.columns, self.grids, self.blocks, strict=True)
        frame = {}
        for column, grid, block in parts:
            cells = codes[:, block.index]
            values = None if grid is None else draw_values(grid, cells, rng)
            frame[column.name] = typed_column(column, block, cells, values, items.get(block.index))
        return pd.DataFrame(frame)

    def items_of(self, feature_codes: npt.NDArray[Any]) -> dict[int, npt.NDArray[Any]]:
        """Returns the items (N, most) of each set by its column's place; views of the records."""
        first = len(self.features)
        return {
            block.index: feature_codes[:, first + block.place : first + block.place + block.most]
            for block in self.sets
        }

    def column_codes(
        self,
        feature_codes: npt.NDArray[Any],
        classes: npt.NDArray[Any],
        rng: np.random.Generator,
    ) -> Codes:
        """Returns the codes of all columns, (N, columns), from those of features and classes.

        Where the cell of a numeric target does not belong to the record's class, it is drawn anew
        within the class.
        """
        codes = np.zeros((len(feature_codes), len(self.blocks)), dtype=np.int32)
        codes[:, list(self._feature_indices)] = feature_codes[:, : len(self.features)]
        if self._target is not None:
            if self._target in self._feature_indices:
                codes[:, self._target] = self._matching(codes[:, self._target], classes, rng)
            else:
                codes[:, self._target] = classes
        return codes

    def _make_classes(self) -> tuple[Classes, tuple[str, ...], tuple[bool, ...]]:
        if self._target is None:
            return np.zeros(1, dtype=np.int64), ("all",), (True,)
        block, grid = self.blocks[self._target], self.grids[self._target]
        bins = block.num_bins
        groups = min(bins, MAX_TARGET_BINS) if grid is not None else bins
        rest = np.arange(groups, groups + block.size - bins)
        class_of_cell = np.concatenate([np.arange(bins) * groups // bins, rest]).astype(np.int64)
        labels, sampleable = [], []
        for group in range(groups):
            members = np.flatnonzero(class_of_cell == group)
            first, last = int(members[0]), int(members[-1])
            if grid is None or first == last:
                labels.append(block.labels[first])
            else:
                column = self.schema.columns[self._target]
                labels.append(range_label(column, grid, first, last))
            sampleable.append(True)
        labels.extend(block.labels[bins:])
        sampleable.extend(block.sampleable[bins:])
        return class_of_cell, tuple(labels), tuple(sampleable)

    def _matching(
        self, codes: npt.NDArray[Any], classes: npt.NDArray[Any], rng: np.random.Generator
    ) -> npt.NDArray[Any]:
        codes = codes.copy()
        wrong = self.class_of_cell[codes] != classes
        for label in np.unique(np.asarray(classes)[wrong]):
            rows = np.flatnonzero(wrong & (classes == label))
            cells = np.flatnonzero(self.class_of_cell == label)
            codes[rows] = rng.choice(cells, size=len(rows))
        return codes


def column_grid(column: Column, default_bins: int = DEFAULT_BINS) -> Grid | None:
    """Returns the public grid of a column, or None for a category."""
    if column.kind == "category":
        return None
    dates = column.dates_only
    assert column.minimum is not None and column.maximum is not None
    low = axis_value(column.minimum, dates_only=dates)
    high = axis_value(column.maximum, dates_only=dates)
    specials = tuple(axis_value(value, dates_only=dates) for value in column.special)
    edges = tuple(axis_value(value) for value in column.edges)
    if column.kind == "real":
        return real_grid(
            low,
            high,
            bins=column.bins,
            scale=column.scale,
            specials=specials,
            edges=edges,
            default_bins=default_bins,
        )
    # Of a set it is the number of items, each of which is a cell.
    scale = "linear" if column.kind == "datetime" else column.scale
    return integer_grid(
        int(low),
        int(high),
        bins=column.bins,
        scale=scale,
        specials=specials,
        edges=edges,
        default_bins=default_bins,
    )


def _blocks(
    schema: Schema, grids: tuple[Grid | None, ...], indices: range | tuple[int, ...]
) -> tuple[Block, ...]:
    blocks: list[Block] = []
    for index in indices:
        column, grid = schema.columns[index], grids[index]
        labels = list(column.values) if grid is None else _bin_labels(column, grid)
        bins = len(labels)
        labels += [_text(column, axis) for axis in (grid.specials if grid is not None else ())]
        sampleable = [True] * len(labels)
        if column.nullable:
            labels.append(_MISSING_LABEL)
            sampleable.append(True)
        labels.append(column.other or _OTHER_LABEL)
        sampleable.append(column.other is not None)
        start = blocks[-1].start + blocks[-1].size if blocks else 0
        blocks.append(
            Block(
                name=column.name,
                index=index,
                start=start,
                size=len(labels),
                labels=tuple(labels),
                ordered=grid is not None,
                sampleable=tuple(sampleable),
                num_bins=bins,
                levels=code_levels(column.hierarchy, column.values) if column.hierarchy else (),
            )
        )
    return tuple(blocks)


def _bin_labels(column: Column, grid: Grid) -> list[str]:
    return [range_label(column, grid, i, i) for i in range(grid.size)]


def range_label(column: Column, grid: Grid, first: int, last: int) -> str:
    """Returns the values from the bin `first` to the bin `last` as text, ends included."""
    start, stop = _text(column, grid.starts[first]), _text(column, grid.stops[last])
    return start if start == stop else f"{start} to {stop}"


def _text(column: Column, axis: float) -> str:
    if column.kind == "datetime":
        moment = (
            np.datetime64(int(axis), "D") if column.dates_only else np.datetime64(int(axis), "s")
        )
        return str(moment)
    return str(int(axis)) if column.kind in ("integer", "set") else f"{axis:.6g}"
