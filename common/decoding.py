"""From cells to values: drawn within bins, exact for special values, typed as the schema says.

A set is the text of a cell, its items in the order of the schema; an empty one has no value, unless
missing sets are part of the table (`fedloom.common.set_cells`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fedloom.common.column import Column
from fedloom.common.grid import Grid
from fedloom.common.set_cells import sets_as_text

if TYPE_CHECKING:
    from fedloom.common.encoding import Block

__all__ = ["draw_values", "has_no_value", "typed_column"]

_DAY_S = 86_400
_TEXT_DTYPE = pd.Series(["text"]).dtype

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


def draw_values(grid: Grid, codes: npt.NDArray[Any], rng: np.random.Generator) -> Floats:
    """Returns a number on the axis for each cell (N,): uniform in a bin, exact for special values.

    Cells without a number get 0.
    """
    values = np.zeros(len(codes))
    binned = codes < grid.size
    values[binned] = grid.draw(codes[binned], rng)
    for position, special in enumerate(grid.specials):
        values[codes == grid.size + position] = special
    return values


def has_no_value(column: Column, block: Block, codes: npt.NDArray[Any]) -> Mask:
    """Tells which cells (N,) stand for a missing value, or for one outside an unnamed list."""
    nothing: Mask = (codes == block.size - 1) & (column.other is None)
    if column.nullable:
        nothing |= codes == block.size - 2
    return nothing


def typed_column(
    column: Column,
    block: Block,
    codes: npt.NDArray[Any],
    values: Floats | None,
    items: npt.NDArray[Any] | None = None,
) -> pd.Series:
    """Returns cells as a column of a table.

    Args:
      column: Of the schema.
      block: Its cells.
      codes: (N,) cell of each record.
      values: (N,) numbers of a column of numbers or times.
      items: (N, max_items) items of a set.
    """
    if items is not None:
        texts = sets_as_text(column, items, has_no_value(column, block, codes))
        return pd.Series(texts, dtype=_TEXT_DTYPE)
    if values is None:
        labels: npt.NDArray[Any] = np.full(block.size, None, dtype=object)
        labels[: block.num_bins] = column.values
        labels[-1] = column.other
        return pd.Series(labels[codes], dtype=_TEXT_DTYPE)
    nothing = has_no_value(column, block, codes)
    if column.kind == "real":
        return pd.Series(np.where(nothing, np.nan, values))
    whole = values.astype(np.int64)
    if column.kind == "integer":
        return pd.Series(pd.arrays.IntegerArray(whole, nothing))
    seconds = whole * (_DAY_S if column.dates_only else 1)
    times = seconds.astype("datetime64[s]")
    times[nothing] = np.datetime64("NaT")
    return pd.Series(times)
