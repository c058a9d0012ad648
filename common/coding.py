"""From values to cells: the code of each value in its column's block, and the items of sets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from fedloom.common.cells import axis_value, cell_text, read_categories, read_numbers
from fedloom.common.column import Column
from fedloom.common.grid import Grid
from fedloom.common.set_cells import read_sets

if TYPE_CHECKING:
    from fedloom.common.encoding import Block

__all__ = ["EncodedColumn", "encode_column"]


@dataclass(frozen=True, slots=True, eq=False)
class EncodedColumn:
    """One column as codes, and what did not fit; the counts are private.

    Attributes:
      codes: Cell of each record in the column's block, (N,).
      items: Items of a set, (N, max_items); of other columns none, (N, 0).
      clamped: How many numbers were moved into the bounds or to whole numbers, or sets cut.
      unknown: How many values were unreadable or outside the list.
      missing: How many values were missing.
    """

    codes: npt.NDArray[np.int64]
    items: npt.NDArray[np.int32]
    clamped: int
    unknown: int
    missing: int


def encode_column(column: Column, grid: Grid | None, block: Block, raw: pd.Series) -> EncodedColumn:
    """Codes a column; values that do not fit never raise, and no record depends on another.

    Args:
      column: Of the schema.
      grid: Its public grid, or None for a category.
      block: Its cells.
      raw: Its values.
    """
    if column.kind == "set":
        return _encode_sets(column, block, raw)
    found = (
        _encode_categories(column, block, raw)
        if grid is None
        else _encode_numbers(column, grid, block, raw)
    )
    return EncodedColumn(found[0], np.empty((len(raw), 0), dtype=np.int32), *found[1:])


def _encode_sets(column: Column, block: Block, raw: pd.Series) -> EncodedColumn:
    cells = read_sets(column, raw)
    codes = np.where(cells.missing, block.size - 2, cells.sizes)
    return EncodedColumn(
        codes=codes,
        items=cells.items,
        clamped=int((cells.cut > 0).sum()),
        unknown=int(cells.unknown.sum()),
        missing=int(cells.missing.sum()),
    )


def _encode_categories(
    column: Column, block: Block, raw: pd.Series
) -> tuple[npt.NDArray[np.int64], int, int, int]:
    cells = read_categories(column, raw)
    codes = np.where(cells.missing | cells.unreadable, block.size - 1, cells.values)
    if column.nullable:
        codes[cells.missing] = block.size - 2
    unknown = int(cells.unreadable.sum())
    if column.other is not None and unknown:
        unknown -= sum(cell_text(value) == column.other for value in raw[cells.unreadable])
    return codes, 0, unknown, int(cells.missing.sum())


def _encode_numbers(
    column: Column, grid: Grid, block: Block, raw: pd.Series
) -> tuple[npt.NDArray[np.int64], int, int, int]:
    assert column.minimum is not None and column.maximum is not None
    cells = read_numbers(column, raw)
    low = axis_value(column.minimum, dates_only=column.dates_only)
    high = axis_value(column.maximum, dates_only=column.dates_only)
    special = np.isin(cells.values, grid.specials)
    inside = np.clip(cells.values, low, high)
    codes = grid.locate(inside).astype(np.int64)
    for position, value in enumerate(grid.specials):
        codes[(cells.values == value) | (~special & (inside == value))] = grid.size + position
    nothing = cells.missing | cells.unreadable
    codes[nothing] = block.size - 1
    if column.nullable:
        codes[cells.missing] = block.size - 2
    moved = ((inside != cells.values) & ~special | cells.rounded) & ~nothing
    return codes, int(moved.sum()), int(cells.unreadable.sum()), int(cells.missing.sum())
