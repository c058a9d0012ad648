"""How raw cells of a set column are read: several of its items in one record.

A cell is text with the column's separator between the items, or a list of them, as Parquet and
data frames hold it. Each item is read as a category is (`fedloom.common.cells`). The first
`max_items` different items that the schema knows count, in the order in which the cell lists them;
so what is kept of a record depends on that record and the schema alone. Items that the schema does
not know are left out.

A cell without a value is the empty set; where the column is nullable it is missing, and the empty
set is an empty list, or the separator alone. Nothing here ever fails on a value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fedloom.common.cells import (
    cell_text,
    missing_cells,
    plain_cells,
    position_of,
    positions_of,
)
from fedloom.common.column import Column

__all__ = ["NO_ITEM", "SetCells", "cell_items", "read_sets", "sets_as_text"]

NO_ITEM = -1
"""Stands where a record has fewer items than the most."""

Mask = npt.NDArray[np.bool_]
Items = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class SetCells:
    """The sets of a column, read.

    Attributes:
      items: (N, max_items) int32; positions in `Column.values`, ascending, then `NO_ITEM`.
      missing: Where there is no value, and the column is nullable.
      unknown: How many items of each record (N,) the schema does not know.
      cut: How many items of each record (N,) were beyond `max_items`.
    """

    items: Items
    missing: Mask
    unknown: npt.NDArray[np.int64]
    cut: npt.NDArray[np.int64]

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """How many items each record has, (N,)."""
        return np.asarray((self.items != NO_ITEM).sum(axis=1), dtype=np.int64)


def read_sets(column: Column, raw: pd.Series) -> SetCells:
    """Reads a set column; never fails.

    Args:
      column: Of kind `set`.
      raw: Its cells.
    """
    raw = plain_cells(raw)
    missing, positions = missing_cells(raw), positions_of(column)
    most = int(column.maximum)  # type: ignore[arg-type]
    items = np.full((len(raw), most), NO_ITEM, dtype=np.int32)
    unknown, cut = np.zeros((2, len(raw)), dtype=np.int64)
    known: dict[tuple[str, ...], tuple[list[int], int, int]] = {}
    for row, cell in enumerate(raw.to_numpy(dtype=object)):
        texts = () if missing[row] else cell_items(column, cell)
        if not texts:
            continue
        if texts not in known:
            known[texts] = _read(texts, positions, most)
        kept, unknown[row], cut[row] = known[texts]
        items[row, : len(kept)] = kept
    return SetCells(items, missing & column.nullable, unknown, cut)


def cell_items(column: Column, cell: Any) -> tuple[str, ...]:
    """Returns the items of a cell that holds a value, as texts without white space around them."""
    parts: Sequence[Any]
    if isinstance(cell, (set, frozenset)):  # these have no order of their own
        parts = sorted(map(cell_text, cell))
    elif isinstance(cell, (list, tuple, np.ndarray)):
        parts = [part for part in cell if part is not None]
    else:
        parts = cell_text(cell).split(column.separator)
    texts = (cell_text(part).strip() for part in parts)
    return tuple(text for text in texts if text)


def sets_as_text(column: Column, items: Items, missing: Mask) -> npt.NDArray[Any]:
    """Returns sets as the text of a cell, (N,) objects; None for a cell without text.

    Args:
      column: Of kind `set`.
      items: (N, max_items), as `SetCells.items`.
      missing: (N,) which of them are missing.
    """
    empty = column.separator if column.nullable else None
    codes, inverse = np.unique(items, axis=0, return_inverse=True)
    texts = [
        column.separator.join(column.values[item] for item in row if item != NO_ITEM) or empty
        for row in codes.tolist()
    ]
    found = np.array([*texts, None], dtype=object)[inverse.reshape(-1)]
    found[missing] = None
    return np.asarray(found)


def _read(
    texts: tuple[str, ...], positions: dict[str, int], most: int
) -> tuple[list[int], int, int]:
    """Returns the items that are kept, and how many are unknown and cut off."""
    found = [position_of(positions, text) for text in texts]
    different = list(dict.fromkeys(item for item in found if item >= 0))
    return sorted(different[:most]), found.count(-1), max(len(different) - most, 0)
