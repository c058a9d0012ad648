"""One table of noisy counts, by the columns that it tells together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["CountedTable"]

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class CountedTable:
    """Noisy counts of all records by cells of some columns.

    Attributes:
      columns: the columns, one an axis.
      places: for each axis, where each cell of the column's block lies on it, (cells,).
      counts: the noisy counts, unbiased.
      variances: of the independent Gaussian noise in each count, of the same shape.
    """

    columns: tuple[str, ...]
    places: tuple[Array, ...]
    counts: Array
    variances: Array

    def axis(self, column: str) -> int:
        """Returns the axis of a column."""
        return self.columns.index(column)

    def spread(self, columns: Sequence[str], weights: Array) -> Array:
        """Returns a weight for each count from one by some columns, the same over all others.

        Args:
          columns: the axes of `weights`, in their order.
          weights: by the places of these columns.
        """
        order = [self.axis(column) for column in columns]
        turned = weights.transpose(np.argsort(order))
        shape = [size if axis in order else 1 for axis, size in enumerate(self.counts.shape)]
        return np.broadcast_to(turned.reshape(shape), self.counts.shape)

    def margin(self, *columns: str) -> tuple[Array, Array]:
        """Returns the counts by some columns over all others, and the variances of their noise."""
        order = [self.axis(column) for column in columns]
        rest = tuple(axis for axis in range(self.counts.ndim) if axis not in order)
        left = [axis for axis in range(self.counts.ndim) if axis in order]
        turned = [left.index(axis) for axis in order]
        counts, variances = (
            whole.sum(axis=rest).transpose(turned) for whole in (self.counts, self.variances)
        )
        return counts, variances
