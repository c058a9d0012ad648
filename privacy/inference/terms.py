"""What a column contributes to an analysis: a number, a transform of it, or an indicator.

A column is known by its cells. Within a cell values count as evenly spread, so a term holds a few
points of each cell rather than one: means, squares and products of terms of one column are then
right also where cells are wide.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.common.errors import ConfigError
from fedloom.privacy.inference.counted import CountedTables

__all__ = ["Term", "indicator", "number", "observed_cells"]

Array = NDArray[Any]

_POINTS = 8


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Term:
    """A function of one column.

    Attributes:
      name: for people.
      column: the column.
      points: its values at a few points of each cell, (cells, points); 0 where not observed.
      observed: (cells,) 1 where the cell tells a value, 0 where it is missing or unreadable.
    """

    name: str
    column: str
    points: Array
    observed: Array

    @property
    def values(self) -> Array:
        """Its mean in each cell, (cells,)."""
        mean: Array = self.points.mean(axis=1)
        return mean

    def mean(self, shares: Array) -> float:
        """Returns its mean over observed cells of these shares."""
        weights = shares * self.observed
        return float(weights @ self.values / max(float(weights.sum()), 1e-12))

    def mapped(self, name: str, function: Callable[[Array], Array]) -> Term:
        """Returns a function of it, such as its logarithm.

        Raises:
          ConfigError: the function has no value somewhere in the column's bounds.
        """
        with np.errstate(all="ignore"):
            points = np.where(self.observed[:, None] > 0, function(self.points), 0.0)
        if not np.isfinite(points).all():
            raise ConfigError(
                f"{name} has no value everywhere within the bounds of column {self.column!r}; use "
                f"{self.column} itself, or log1p({self.column}) where it may be 0"
            )
        return Term(name=name, column=self.column, points=points, observed=self.observed)


def observed_cells(tables: CountedTables, column: str) -> Array:
    """Returns 1 for cells that tell a value, 0 for those of missing and unreadable ones."""
    block, described = tables.block(column), tables.encoding.schema.column(column)
    observed = np.ones(block.size)
    observed[-1] = float(described.other is not None)
    if described.nullable:
        observed[-2] = 0.0
    return observed


def number(tables: CountedTables, column: str) -> Term:
    """Returns the numbers of a column, special values among them.

    Raises:
      ConfigError: the column holds categories or times.
    """
    block, described = tables.block(column), tables.encoding.schema.column(column)
    grid = tables.encoding.grids[block.index]
    if grid is None or described.kind == "datetime":
        kind = "categories" if grid is None else "times"
        raise ConfigError(
            f"column {column!r} holds {kind}, where a number is needed; write "
            + (f"C({column}) for one effect a category" if grid is None else "a column of numbers")
        )
    widths = grid.stops - grid.starts
    spread = np.sqrt(((widths + 1) ** 2 - 1) / 12) if grid.discrete else widths / np.sqrt(12)
    steps = (2 * np.arange(_POINTS) + 1 - _POINTS) / _POINTS
    steps = steps / steps.std()
    points = np.zeros((block.size, _POINTS))
    points[: grid.size] = ((grid.starts + grid.stops) / 2)[:, None] + spread[:, None] * steps
    points[grid.size : grid.size + len(grid.specials)] = grid.specials[:, None]
    observed = observed_cells(tables, column)
    return Term(name=column, column=column, points=points * observed[:, None], observed=observed)


def indicator(tables: CountedTables, column: str, cells: Collection[int], name: str) -> Term:
    """Returns 1 in some cells of a column and 0 in the others."""
    observed = observed_cells(tables, column)
    points = np.zeros((len(observed), 1))
    points[list(cells)] = 1.0
    return Term(name=name, column=column, points=points, observed=observed)
