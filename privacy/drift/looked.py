"""A column's noisy counts in a study's first statistic, over all classes of the label.

Numbers and times lie on an axis of cells, which a fine look counts at several widths; categories,
special numbers, missing and other values are cells that stand apart. Post-processing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.common.column_marginals import ColumnMarginals
from fedloom.common.encoding import Encoding
from fedloom.common.hierarchy import BRANCHING
from fedloom.common.marginals import NoisyMarginals, OneWayMarginals

__all__ = ["Axis", "LookedColumn", "looked_columns"]

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Axis:
    """Noisy counts of the cells of an axis at one width, from left to right.

    Attributes:
      starts: (n,) left ends of the cells, increasing.
      end: right end of the last cell.
      counts: (n,) noisy counts.
      members: (n,) how many noisy counts each is the sum of.
    """

    starts: Array
    end: float
    counts: Array
    members: Array

    def joined(self, starts: Array) -> Axis:
        """Returns the axis on wider cells, whose left ends are some of its own.

        >>> axis = Axis(starts=np.arange(3), end=2.0, counts=np.array([1, 2, 4]),
        ...             members=np.ones(3))
        >>> axis.joined(np.array([0, 2])).counts.tolist()
        [3, 4]
        """
        first = np.searchsorted(self.starts, starts)
        return Axis(
            starts=starts,
            end=self.end,
            counts=np.add.reduceat(self.counts, first),
            members=np.add.reduceat(self.members, first),
        )


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LookedColumn:
    """One column's noisy counts.

    Attributes:
      name: of the column.
      variance: of the noise in each single count.
      axes: the axis at each width, the finest first; empty for a category.
      apart: labels of the cells beside the axis.
      counts: their noisy counts.
    """

    name: str
    variance: float
    axes: tuple[Axis, ...]
    apart: tuple[str, ...]
    counts: Array


def looked_columns(statistics: NoisyMarginals) -> Iterator[LookedColumn]:
    """Yields every column's counts, the label's among them, in the order of the schema."""
    encoding, variance = statistics.encoding, statistics.look_std**2
    measured = (OneWayMarginals if statistics.by_class else ColumnMarginals)(encoding)
    classes, cells = measured.rows(statistics.look)
    within = cells.ndim == 2
    cells = cells.sum(axis=0) if within else cells
    places = {block.index: place for place, block in enumerate(encoding.features)}
    for index, block in enumerate(encoding.blocks):
        place = places.get(index)
        if place is None:  # the label, a category: its cells are the classes
            yield LookedColumn(
                name=block.name,
                variance=variance,
                axes=(),
                apart=encoding.class_labels,
                counts=np.asarray(classes, dtype=np.float64),
            )
            continue
        start, bins = encoding.features[place].start, block.num_bins if block.ordered else 0
        counts = np.asarray(cells[start : start + block.size], dtype=np.float64)
        axes = _axes(encoding, index, counts[:bins], statistics.axis_levels(place)) if bins else ()
        yield LookedColumn(
            name=block.name,
            variance=variance * (encoding.num_classes if within else 1),
            axes=axes,
            apart=block.labels[bins:],
            counts=counts[bins:],
        )


def _axes(encoding: Encoding, index: int, counts: Array, levels: list[Array]) -> tuple[Axis, ...]:
    """Returns the axis at each width: a wider cell joins `BRANCHING` of the next finer ones."""
    grid = encoding.grids[index]
    assert grid is not None
    return tuple(
        Axis(
            starts=grid.starts[:: BRANCHING**level],
            end=float(grid.stops[-1]),
            counts=np.asarray(wide, dtype=np.float64),
            members=np.ones(len(wide)),
        )
        for level, wide in enumerate(levels or [counts])
    )
