"""Noisy tables with the margins that are known better than any one table tells them.

A table falls into orthogonal parts: its total, its single columns, and the rest. Totals and columns
are estimated from all tables and the columns' own counts together; a table's own are far noisier.
So they are exchanged, and what columns have to do with each other stays as it was measured.

Source: consistency of overlapping noisy marginals, as in Hay et al. 2010 (arXiv:0904.0942).
Post-processing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.common.models.cell_tables import CellTables

__all__ = ["with_margins"]

Array = NDArray[Any]


def with_margins(tables: CellTables, counts: Array, margins: Sequence[Array]) -> Array:
    """Returns the tables' counts (length,) with given totals and single columns.

    Args:
      tables: the layout.
      counts: (length,) noisy counts.
      margins: of each column its codes' records; they have one sum.

    >>> layout = CellTables((2, 2), ((0, 1),))
    >>> known = [np.array([6.0, 4.0]), np.array([5.0, 5.0])]
    >>> with_margins(layout, np.array([4.0, 0.0, 0.0, 4.0]), known).tolist()
    [5.0, 1.0, 0.0, 4.0]
    """
    result = counts.astype(np.float64)
    for columns, table in tables.split(result):
        table += (margins[columns[0]].sum() - table.sum()) / table.size
        for axis, column in enumerate(columns):
            others = tuple(place for place in range(table.ndim) if place != axis)
            missing = (margins[column] - table.sum(axis=others)) * len(margins[column]) / table.size
            table += np.expand_dims(missing, others)
    return result
