"""Sums over all records of terms and of products of two terms, as the noisy tables give them.

A sum over one column is the best linear unbiased one from all tables that hold it (`blended`). A
sum over pairs falls into four parts: total, rows, columns and interaction. What margins say is
taken from the columns alone; the interaction is that of the finest table, made sharper by all
coarser ones (`pairs`).

Pairs are counted on groups of cells. A term is then known by its mean within each group, which
keeps a share kappa of its variance. Covariances of such group means are divided by kappa (Pearson
1913, the correction for broad categories), which is right where the mean of either column is linear
in the other within the groups. A group's mean comes from the smooth shape of the column; how far it
is off, as where a thin tail lies below the noise, is estimated without that shape from the column's
own counts, made up for, and part of the error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.common.errors import NotMeasuredError
from fedloom.privacy.inference.counted import CountedTables
from fedloom.privacy.inference.forms import Form, noise_covariance
from fedloom.privacy.inference.groupings import Grouping, Rows, group_means
from fedloom.privacy.inference.terms import Term

__all__ = ["Rows", "Sum", "Sums", "combined"]

Array = NDArray[Any]

# Tables that tell the number of records less well than this, beside the best, are left out.
_MIN_WEIGHT = 0.02
# Tables that keep nearly as much of two terms as any are as good as that one.
_NEAR_MOST = 0.98
_NOTHING = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Sum:
    """A sum over all records.

    Attributes:
      value: the estimate.
      form: how it moves with each noisy count, to first order.
      per_row: what each of the generator's rows adds to it, (rows,).
    """

    value: float
    form: Form
    per_row: Array

    def __add__(self, other: Sum) -> Sum:
        """Returns the sum of both."""
        return Sum(self.value + other.value, self.form + other.form, self.per_row + other.per_row)

    def __mul__(self, factor: float) -> Sum:
        """Returns it times a number."""
        return Sum(self.value * factor, self.form * factor, self.per_row * factor)


class Sums:
    """Sums of terms from the tables of a study."""

    def __init__(self, tables: CountedTables, rows: Rows) -> None:
        """Takes what was counted, and rows of the generator."""
        self.tables = tables
        self.rows = rows
        self._kept: dict[str, float] = {}

    @property
    def kept_variance(self) -> dict[str, float]:
        """Least share of the variance of a column's terms that the groups of pairs have kept."""
        return dict(self._kept)

    @cached_property
    def total(self) -> Sum:
        """The number of records; every table holds them all, and the best weighs most."""
        tables = self.tables.tables
        weights = np.array([1.0 / float(table.variances.sum() or 1e-18) for table in tables])
        weights[weights < _MIN_WEIGHT * weights.max()] = 0.0
        weights /= weights.sum()
        form = Form(
            {
                number: np.full(tables[number].counts.shape, weights[number])
                for number in np.flatnonzero(weights).tolist()
            }
        )
        return Sum(form.value(self.tables), form, np.ones(self.rows.size))

    @cached_property
    def records(self) -> float:
        """The estimated number of records, at least 1."""
        return max(self.total.value, 1.0)

    def one(self, column: str, weights: Array) -> Sum:
        """Returns the sum over all records of a weight of each cell of a column."""
        middle, value, moved = self.tables.column(column).estimate(weights)
        form = Form(
            {
                number: self.tables.tables[number].spread([column], given)
                for number, given in moved.items()
            }
        )
        rest = Sum(value, form, weights[self.rows.codes[column]] - middle)
        return self.total * middle + rest

    def of(self, term: Term, center: float = 0.0) -> Sum:
        """Returns the sum of a term, less a public center, over records where it is observed."""
        return self.one(term.column, (term.values - center) * term.observed)

    def observed(self, term: Term) -> Sum:
        """Returns the number of records where a term is observed."""
        if term.observed.all():
            return self.total
        return self.one(term.column, term.observed)

    def both_observed(self, one: Term, other: Term) -> Sum:
        """Returns the number of records where two terms are observed."""
        if one.column == other.column or other.observed.all():
            return self.observed(one)
        if one.observed.all():
            return self.observed(other)
        number = self._grouping(one, other, 0.0, 0.0).number
        return self._pair(number, one.column, one.observed, other.column, other.observed)

    def product(
        self, one: Term, other: Term, center: float = 0.0, other_center: float = 0.0
    ) -> Sum:
        """Returns the sum of the product of two terms, each less a public center.

        Raises:
          NotMeasuredError: no table holds both columns, or only on cells too coarse for a term.
        """
        if one.column == other.column:
            points = (one.points - center) * (other.points - other_center)
            return self.one(one.column, points.mean(axis=1) * one.observed)
        terms = ((one, center), (other, other_center))
        values = [(term.values - middle) * term.observed for term, middle in terms]
        per_row = [
            given[self.rows.codes[term.column]]
            for given, (term, _) in zip(values, terms, strict=True)
        ]
        grouping = self._grouping(one, other, center, other_center)
        total = self._pair(grouping.number, one.column, values[0], other.column, values[1])
        total = total * (1.0 / grouping.kept)
        for place, (term, _) in enumerate(terms):
            within = values[place] - grouping.means[place]
            weights = grouping.expected(place, per_row[1 - place]) * within
            if np.abs(weights).max() > _NOTHING:
                total = total + self.one(term.column, weights)
            kept = grouping.each[place]
            self._kept[term.column] = min(kept, self._kept.get(term.column, 1.0))
        return Sum(total.value, total.form, per_row[0] * per_row[1])

    def covariances(self, sums: Sequence[Sum]) -> tuple[Array, Array]:
        """Returns the covariance of several sums, (sums, sums): of noise, and of sampling.

        The second is that of a number of records that is not fixed, which for ratios equals that
        of a fixed one.
        """
        rows = np.stack([part.per_row for part in sums])
        rows = rows - rows.mean(axis=1, keepdims=True)
        sampled = rows @ rows.T / self.rows.size * self.records * self.rows.alike
        return noise_covariance([part.form for part in sums], self.tables), sampled

    def places(self, column: str, other: str) -> Array:
        """Returns where each cell of a column lies in the finest table that holds it and another.

        Raises:
          NotMeasuredError: there is none.
        """
        found = [
            self.tables.tables[number].places[self.tables.tables[number].axis(column)]
            for number in self._both(column, other)
        ]
        return max(found, key=lambda places: int(places.max()))

    def _both(self, column: str, other: str) -> list[int]:
        found = self.tables.holding({column, other})
        if not found:
            raise NotMeasuredError(
                f"the study did not count {column!r} and {other!r} together, so its answers cannot "
                'tell; a study with [statistics] kind = "pairwise" buys all pairs of columns'
            )
        return found

    def _grouping(self, one: Term, other: Term, center: float, other_center: float) -> Grouping:
        """Returns how the table sees two terms that keeps most of them; of equal ones the sharpest.

        Raises:
          NotMeasuredError: no table holds both, or only on cells too coarse.
        """
        terms = ((one, center), (other, other_center))
        shares = [self.tables.shares(term.column) for term, _ in terms]
        found = [
            Grouping.of(number, self.tables.tables[number], terms, shares, self.rows)
            for number in self._both(one.column, other.column)
        ]
        fine = [grouping for grouping in found if grouping is not None]
        if not fine:
            raise NotMeasuredError(
                f"{one.name} and {other.name} were counted together on cells too coarse for them; "
                "a larger epsilon buys finer cells"
            )
        most = max(grouping.kept for grouping in fine)
        fine = [grouping for grouping in fine if grouping.kept >= _NEAR_MOST * most]
        return min(fine, key=lambda grouping: grouping.noise)

    def _pair(
        self, number: int, column: str, weights: Array, other: str, other_weights: Array
    ) -> Sum:
        table = self.tables.tables[number]
        at, apart, parts = {}, {}, {}
        per_row = np.ones(self.rows.size)
        for name, given in ((column, weights), (other, other_weights)):
            places = table.places[table.axis(name)]
            size = table.counts.shape[table.axis(name)]
            means = group_means(self.tables.shares(name), given, places, size)
            at[name], apart[name] = float(means.mean()), means - means.mean()
            parts[name] = self.one(name, apart[name][places])
            per_row = per_row * means[places][self.rows.codes[name]]
        pair = self.tables.pair(number, column, other)
        middle, inner, moved = pair.estimate(np.outer(apart[column], apart[other]))
        form = Form(
            {
                place: self.tables.tables[place].spread([column, other], given)
                for place, given in moved.items()
            }
        )
        margins = self.total * (at[column] * at[other] + middle)
        margins = margins + parts[column] * at[other] + parts[other] * at[column]
        return Sum(margins.value + inner, margins.form + form, per_row)


def combined(sums: Sequence[Sum], factors: Sequence[float]) -> Sum:
    """Returns a weighted sum of sums."""
    total = sums[0] * factors[0]
    for part, factor in zip(sums[1:], factors[1:], strict=True):
        if factor != 0.0:
            total = total + part * factor
    return total
