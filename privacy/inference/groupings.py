"""How the groups of cells of a table of two columns see two terms.

All of it is post-processing of noisy counts, and of rows of the generator that was made from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.privacy.inference.counted_table import CountedTable
from fedloom.privacy.inference.terms import Term

__all__ = ["Grouping", "Rows", "group_means"]

Array = NDArray[Any]

_MIN_KEPT = 0.5
# A share of every cell, so that empty ones have a place too.
_NOTHING = 1e-9


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Rows:
    """Rows drawn from a release's generator, for the part of a variance that sampling makes.

    Attributes:
      codes: by column, the cell of each row, (rows,).
      alike: most records of one unit, over all sites. Records of one person may be alike; by
        Cauchy and Schwarz that multiplies a variance by this number at most.
    """

    codes: dict[str, Array]
    alike: int = 1

    @property
    def size(self) -> int:
        """Number of rows."""
        return len(next(iter(self.codes.values())))


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Grouping:
    """Two terms as a table's groups of cells see them.

    Attributes:
      number: of the table.
      means: for each term, the mean of its group in each finest cell, (cells,).
      each: for each term, the share of its variance that the groups keep.
      groups: for each term, the group that each of the generator's rows lies in, (rows,).
      at: for each term, the group of each finest cell, (cells,).
      noise: standard deviation of the sum of products that the table gives, what is lost made up.
    """

    number: int
    means: tuple[Array, Array]
    each: tuple[float, float]
    groups: tuple[Array, Array]
    at: tuple[Array, Array]
    noise: float

    @classmethod
    def of(
        cls,
        number: int,
        table: CountedTable,
        terms: Sequence[tuple[Term, float]],
        shares: Sequence[Array],
        rows: Rows,
    ) -> Grouping | None:
        """Returns it, or None where the groups are too coarse.

        Args:
          number: of the table.
          table: of both columns.
          terms: both, each with what it is taken about.
          shares: of the finest cells of each column.
          rows: of the generator.
        """
        means, each, groups, at, sizes = [], [], [], [], []
        for (term, center), share in zip(terms, shares, strict=True):
            axis = table.axis(term.column)
            places, size = table.places[axis], table.counts.shape[axis]
            weights = (term.values - center) * term.observed
            found = group_means(share, weights, places, size)
            whole = (share + _NOTHING) @ (
                ((term.points - center) ** 2).mean(axis=1) * term.observed
            )
            kept = (share + _NOTHING) @ found[places] ** 2 / max(float(whole), 1e-300)
            means.append(found[places])
            each.append(min(float(kept), 1.0))
            groups.append(places[rows.codes[term.column]])
            at.append(places)
            sizes.append(float(((found - found.mean()) ** 2).sum()) / size)
        if min(each) < _MIN_KEPT:
            return None
        noise = np.sqrt(float(table.variances.mean()) * table.counts.size * sizes[0] * sizes[1])
        return cls(
            number=number,
            means=(means[0], means[1]),
            each=(each[0], each[1]),
            groups=(groups[0], groups[1]),
            at=(at[0], at[1]),
            noise=float(noise) / (each[0] * each[1]),
        )

    @property
    def kept(self) -> float:
        """The share of a covariance that the groups keep."""
        return self.each[0] * self.each[1]

    def expected(self, place: int, values: Array) -> Array:
        """Returns the mean of the rows' values in the group of each finest cell, (cells,).

        Args:
          place: of the term whose groups are meant, 0 or 1.
          values: of the generator's rows, (rows,).
        """
        groups, at = self.groups[place], self.at[place]
        size = int(at.max()) + 1
        found = np.bincount(groups, values, minlength=size)
        return np.asarray((found / np.maximum(np.bincount(groups, minlength=size), 1))[at])


def group_means(shares: Array, values: Array, places: Array, size: int) -> Array:
    """Returns the mean of values over the finest cells of each group, (groups,).

    Args:
      shares: of the finest cells, (cells,).
      values: in these cells, (cells,).
      places: group of each cell, (cells,).
      size: number of groups.
    """
    likely = shares + _NOTHING
    mass = np.bincount(places, weights=likely, minlength=size)
    means = np.bincount(places, weights=likely * values, minlength=size)
    return np.divide(means, mass, out=np.zeros(size), where=mass > 0)
