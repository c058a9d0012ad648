"""A pair of columns as all tables that hold both tell it together.

The finest table tells the pair on its groups of cells. Every coarser one, such as a triple of the
pair and a third column, tells sums over rectangles of these groups, often with far less noise for
them; the best linear unbiased estimate (`blended`) takes both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.privacy.inference.blended import BlendedCounts
from fedloom.privacy.inference.counted_table import CountedTable

__all__ = ["PairCounts"]

Array = NDArray[Any]


class PairCounts:
    """Counts by two columns."""

    def __init__(
        self,
        tables: Mapping[int, CountedTable],
        columns: tuple[str, str],
        shares: tuple[Array, Array],
    ) -> None:
        """Takes the tables.

        Args:
          tables: by number; the first is the finest.
          columns: the pair.
          shares: of the finest cells of each column.
        """
        self._sizes: dict[int, tuple[int, int]] = {}
        counts = {}
        for number, table in tables.items():
            found, variances = table.margin(*columns)
            counts[number] = found.ravel(), variances.ravel()
            self._sizes[number] = (found.shape[0], found.shape[1])
        # Cells of a column that no table tells apart are one, or there would be too many pairs.
        parts, likely = [], []
        for column, share in zip(columns, shares, strict=True):
            stacked = np.stack(
                [table.places[table.axis(column)] for table in tables.values()], axis=1
            )
            segments, inverse = np.unique(stacked, axis=0, return_inverse=True)
            parts.append(segments)
            likely.append(np.bincount(inverse.ravel(), share))
        places = {
            number: np.add.outer(
                parts[0][:, axis] * self._sizes[number][1], parts[1][:, axis]
            ).ravel()
            for axis, number in enumerate(tables)
        }
        self._finest = next(iter(tables))
        self._at = places[self._finest]
        records = max(float(counts[self._finest][0].sum()), 0.0)
        self._blended = BlendedCounts(places, counts, records * np.outer(*likely).ravel())

    def estimate(self, weights: Array) -> tuple[float, float, dict[int, Array]]:
        """Returns the sum over all records of a weight of each pair of the finest table's groups.

        Args:
          weights: (groups, groups).

        Returns:
          As `BlendedCounts.estimate`, the influences by both columns' places.
        """
        middle, value, moved = self._blended.estimate(weights.ravel()[self._at])
        return (
            middle,
            value,
            {number: given.reshape(self._sizes[number]) for number, given in moved.items()},
        )
