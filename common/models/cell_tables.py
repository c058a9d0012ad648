"""Tables of some columns each, laid out one after another in one vector.

A table of columns (a, b, ...) has one cell for each combination of their codes, the last column
running fastest. Rows are looked up in all tables together: that is how a weight given by tables
is applied to records.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["CellTables"]

Array = NDArray[Any]

# Rows that are looked up at a time: what they need stays in a core's cache.
_CHUNK_ROWS = 1 << 14


@dataclass(frozen=True, eq=False)
class CellTables:
    """Which tables there are, and where each lies.

    Attributes:
      sizes: codes of each column.
      columns: of each table, ascending.
    """

    sizes: tuple[int, ...]
    columns: tuple[tuple[int, ...], ...]

    @cached_property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shape of each table."""
        return tuple(tuple(self.sizes[c] for c in table) for table in self.columns)

    @cached_property
    def spans(self) -> tuple[slice, ...]:
        """Where each table lies in the vector."""
        ends = [0]
        for shape in self.shapes:
            ends.append(ends[-1] + math.prod(shape))
        return tuple(slice(start, end) for start, end in zip(ends[:-1], ends[1:], strict=True))

    @property
    def length(self) -> int:
        """Cells of all tables."""
        return self.spans[-1].stop if self.spans else 0

    def split(self, vector: Array) -> Iterator[tuple[tuple[int, ...], Array]]:
        """Yields the columns of each table and a view of its part of a vector, in its shape."""
        for table, span, shape in zip(self.columns, self.spans, self.shapes, strict=True):
            yield table, vector[span].reshape(shape)

    def cells(self, table: int, codes: Array) -> Array:
        """Returns the cell of each record in one table, (N,) int64.

        Args:
          table: number of the table.
          codes: (columns, N) codes.
        """
        found: Array = np.zeros(codes.shape[1], dtype=np.int64)
        for column in self.columns[table]:
            found *= self.sizes[column]
            found += codes[column]
        return found

    def sums(self, vector: Array, codes: Array) -> Array:
        """Returns what a vector holds for each record, summed over tables, (N,) float64.

        Args:
          vector: (length,) a number for each cell of each table.
          codes: (columns, N) codes.
        """
        total = np.zeros(codes.shape[1])
        used = [t for t, span in enumerate(self.spans) if vector[span].any()]
        for start in range(0, codes.shape[1], _CHUNK_ROWS):
            rows = slice(start, start + _CHUNK_ROWS)
            part = codes[:, rows]
            for table in used:
                total[rows] += vector[self.spans[table]][self.cells(table, part)]
        return total
