"""Sums over all records of terms and of products of two terms, as the noisy tables give them.

A sum over pairs falls into four parts: total, rows, columns and interaction. What margins say is
taken from the one-way counts, which hold far less noise than a table's own margins; the pair's
table gives the interaction alone.

Pairs are counted on groups of cells. A term is then known by its mean within each group, which
keeps a share kappa of its variance, known from the one-way counts. Covariances of such group means
are divided by kappa (Pearson 1913, the correction for broad categories), which is right where the
mean of either column is linear in the other within the groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.common.errors import NotMeasuredError
from fedloom.privacy.inference.counted import CountedTable, CountedTables
from fedloom.privacy.inference.forms import Form, noise_covariance
from fedloom.privacy.inference.terms import Term

__all__ = ["Rows", "Sum", "Sums", "combined"]

Array = NDArray[Any]

_MIN_KEPT = 0.5
# Tables that tell the number of records less well than this, beside the best, are left out.
_MIN_WEIGHT = 0.02
_ALL_KEPT = 0.9995
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
        number, margin = self.tables.finest(column), self.tables.margin(column)
        table, per_row = self.tables.tables[number], weights[self.rows.codes[column]]
        weights = margin.gathered(weights)
        if margin.smooth:
            mean = margin.mean(weights)
            moved = margin.influence(weights) * self.records
            form = self.total.form * mean + Form({number: _spread(table, {column: moved})})
            return Sum(mean * self.total.value, form, per_row)
        # Equal cells have equal noise: it is least about the plain mean of the weights.
        middle = float(weights.mean())
        form = self.total.form * middle
        form = form + Form({number: _spread(table, {column: weights - middle})})
        return Sum(form.value(self.tables), form, per_row)

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
        number = self._best(one, other, 0.0, 0.0)
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
        number = self._best(one, other, center, other_center)
        kept, codings = 1.0, []
        for term, middle in ((one, center), (other, other_center)):
            share = self._kept_share(number, term, middle)
            kept *= share
            if share < _ALL_KEPT:
                codings.append(self._coding(number, term, middle))
        first, second = (
            (t.values - c) * t.observed for t, c in ((one, center), (other, other_center))
        )
        product = self._pair(number, one.column, first, other.column, second) * (1.0 / kept)
        for coding in codings:
            product = product + coding * (product.value / self.records)
        return product

    def _coding(self, number: int, term: Term, center: float) -> Sum:
        """Returns the relative error of a covariance from that of a term's group means, as a sum.

        Its estimate is zero. With x the term, m its mean in its group, v and w their variances: a
        covariance of m times v / w moves by the mean of x^2 / v - m x / w.
        """
        table, shares = self.tables.tables[number], self.tables.shares(term.column)
        places = table.places[table.axis(term.column)]
        values = (term.values - center) * term.observed
        means = self._means(term.column, values, places, table)[places]
        squares = ((term.points - center) ** 2).mean(axis=1) * term.observed
        weights = squares / float(shares @ squares) - means * values / float(shares @ means**2)
        error = self.one(term.column, weights)
        return Sum(0.0, error.form, error.per_row - error.per_row.mean())

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

    def _best(self, one: Term, other: Term, center: float, other_center: float) -> int:
        """Returns the table whose interaction has the least noise for what it keeps."""
        best, least = -1, np.inf
        for number in self._both(one.column, other.column):
            kept = self._kept_share(number, one, center) * self._kept_share(
                number, other, other_center
            )
            table = self.tables.tables[number]
            noise = np.sqrt(float(table.variances.mean()) * (table.counts.size))
            scaled = noise / max(kept, 1e-9) if kept > _MIN_KEPT**2 else np.inf
            if scaled < least:
                best, least = number, scaled
        if best < 0:
            raise NotMeasuredError(
                f"{one.name} and {other.name} were counted together on cells too coarse for them; "
                "a larger epsilon buys finer cells"
            )
        for term, middle in ((one, center), (other, other_center)):
            kept = self._kept_share(best, term, middle)
            self._kept[term.column] = min(kept, self._kept.get(term.column, 1.0))
        return best

    def _kept_share(self, number: int, term: Term, center: float) -> float:
        """Returns which share of a term's variance a table's groups keep."""
        table = self.tables.tables[number]
        shares = self.tables.shares(term.column) + _NOTHING
        places = table.places[table.axis(term.column)]
        weights = (term.values - center) * term.observed
        means = self._means(term.column, weights, places, table)
        whole = shares @ (((term.points - center) ** 2).mean(axis=1) * term.observed)
        return float(min(shares @ means[places] ** 2 / max(float(whole), 1e-300), 1.0))

    def _means(self, column: str, weights: Array, places: Array, table: CountedTable) -> Array:
        """Returns the mean weight of the cells at each place of a table's axis."""
        shares = self.tables.shares(column) + _NOTHING
        size = table.counts.shape[table.axis(column)]
        mass = np.bincount(places, weights=shares, minlength=size)
        means = np.bincount(places, weights=shares * weights, minlength=size)
        return np.divide(means, mass, out=np.zeros(size), where=mass > 0)

    def _pair(
        self, number: int, column: str, weights: Array, other: str, other_weights: Array
    ) -> Sum:
        table = self.tables.tables[number]
        at, apart, parts = {}, {}, {}
        per_row = np.ones(self.rows.size)
        for name, given in ((column, weights), (other, other_weights)):
            places = table.places[table.axis(name)]
            means = self._means(name, given, places, table)
            at[name], apart[name] = float(means.mean()), means - means.mean()
            parts[name] = self.one(name, apart[name][places])
            per_row = per_row * means[places][self.rows.codes[name]]
        inner = Form({number: _spread(table, apart)})
        margins = self.total * (at[column] * at[other])
        margins = margins + parts[column] * at[other] + parts[other] * at[column]
        value = margins.value + inner.value(self.tables)
        return Sum(value, margins.form + inner, per_row)


def _spread(table: CountedTable, weights: dict[str, Array]) -> Array:
    """Returns a weight for each count: the product of the columns' own, 1 on all other axes."""
    spread = np.ones(table.counts.shape)
    for column, given in weights.items():
        shape = [1] * table.counts.ndim
        shape[table.axis(column)] = len(given)
        spread = spread * given.reshape(shape)
    return spread


def combined(sums: Sequence[Sum], factors: Sequence[float]) -> Sum:
    """Returns a weighted sum of sums."""
    total = sums[0] * factors[0]
    for part, factor in zip(sums[1:], factors[1:], strict=True):
        if factor != 0.0:
            total = total + part * factor
    return total
