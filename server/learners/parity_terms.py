"""Which parities a fitted model certainly misses, and what each class's rows are to meet instead.

Every sum of the parity look is compared with what weighted rows of the model give: what columns,
pairs and triples already say is no news. What differs beyond its known noise, by a normal test
with Bonferroni's correction over all sums, becomes a term of the tilt; everything else is left as
the model has it. The strongest come first and rows are reweighted before others are looked at: a
set that only follows from a set within it does not come in with it.

The sum of two classes says how far they differ, not what either holds. It is shared out as maximum
entropy does: one weight exp(theta s_c p) for parity p in the class of sign s_c, by which a class of
mean m moves to (m + s_c T) / (1 + s_c T m), where T = tanh(theta). Post-processing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from fedloom.common.models.cell_tables import CellTables
from fedloom.common.parities import NoisyParities, odd_rows, parity_sets, parity_sums
from fedloom.server.learners.tilt import NoisyTables, tilt

__all__ = ["ParityTerms", "WeightedRows", "missed_parities"]

Array = NDArray[Any]

# Chance that anything is found where there is nothing.
_SIGNIFICANT = 1e-3
# Sets that come in before rows are reweighted, how often that is done, and how near to the
# strongest one they must be.
_AT_ONCE, _TURNS, _NEAR = 16, 6, 0.5
_MIN_STD = 0.05
_BISECTIONS = 60


@dataclass(frozen=True, kw_only=True, eq=False)
class WeightedRows:
    """Rows that stand for the model in one class.

    Attributes:
      halves: (m, R) half of each row in each column.
      weights: (R,) of the rows; they sum to the class's records.
    """

    halves: Array
    weights: Array


@dataclass(frozen=True, kw_only=True, eq=False)
class ParityTerms:
    """The sets that were found, and their noisy counts in each class.

    Attributes:
      sets: columns of each.
      counts: by class, (sets, 2) noisy counts of records with an even and an odd number of columns
        in upper halves.
      stds: by class, standard deviation of the counts' noise.
    """

    sets: tuple[tuple[int, ...], ...]
    counts: Mapping[int, Array]
    stds: Mapping[int, float]

    def asked(self, label: int, odd: Array) -> NoisyTables:
        """Returns what rows of a class are to meet, `odd` being their `odd_rows`."""
        tables = CellTables((2,) * len(self.sets), tuple((t,) for t in range(len(self.sets))))
        return NoisyTables(
            tables=tables,
            codes=odd,
            counts=self.counts[label].reshape(-1),
            std=self.stds[label],
        )


def missed_parities(
    noisy: NoisyParities,
    signs: Array,
    rows: Mapping[int, WeightedRows],
    *,
    others: Mapping[int, tuple[float, Array]],
    strength: float,
) -> ParityTerms | None:
    """Returns the parities that a model misses beyond chance; None without any.

    Args:
      noisy: the look's sums.
      signs: of the classes in them, as `fedloom.common.parities.class_signs` gives them.
      rows: of the model, by class.
      others: of each class of independent columns, its records and each column's mean sign (m,).
      strength: of the pool, as `tilt` takes it.
    """
    if not rows:
        return None
    search = _Search(noisy, signs, rows, others, strength)
    found: list[int] = []
    weights = {label: part.weights for label, part in rows.items()}
    for _ in range(_TURNS):
        new = search.beyond_chance(weights, found)
        if not new:
            break
        found += new
        weights = search.reweighted(found)
    return search.terms(found) if found else None


class _Search:
    """The look beside the model's own rows."""

    def __init__(
        self,
        noisy: NoisyParities,
        signs: Array,
        rows: Mapping[int, WeightedRows],
        others: Mapping[int, tuple[float, Array]],
        strength: float,
    ) -> None:
        self._noisy, self._rows, self._strength = noisy, rows, strength
        self._sets = parity_sets(next(iter(rows.values())).halves.shape[0], len(signs))
        self._signs, num_classes = signs, signs.shape[1]
        self._records, self._first = np.zeros(num_classes), np.zeros((num_classes, noisy.count))
        self._spread = np.zeros(num_classes)
        for label, part in rows.items():
            self._records[label] = part.weights.sum()
            self._spread[label] = np.square(part.weights).sum()
            self._first[label] = parity_sums(part.halves, part.weights, self._sets)
        for label, (records, means) in others.items():
            self._records[label] = records
            products = [math.prod(means[list(columns)]) for columns in self._sets]
            self._first[label] = records * np.array(products)
        # A class without rows has no tilt, so nothing of its own can be met.
        of_rows = np.isin(np.arange(num_classes), list(rows))
        self._used = (self._signs != 0) @ of_rows > 0

    def beyond_chance(self, weights: Mapping[int, Array], known: list[int]) -> list[int]:
        """Returns which further sets, the strongest first, the weighted rows certainly miss."""
        sums = self._first.copy()
        if known:
            for label, part in self._rows.items():
                sums[label] = parity_sums(part.halves, weights[label], self._sets)
        std = np.sqrt(self._noisy.std**2 + (self._signs != 0) @ self._spread)
        missed = np.abs(self._noisy.sums - self._signs @ sums)[self._used] / std[self._used, None]
        strongest = missed.max(axis=0)
        strongest[known] = 0.0
        least = float(norm.isf(_SIGNIFICANT / (2.0 * missed.size)))
        least = max(least, _NEAR * float(strongest.max()))
        order = np.argsort(-strongest, kind="stable")[:_AT_ONCE]
        return [int(place) for place in order if strongest[place] >= least]

    def reweighted(self, found: list[int]) -> dict[int, Array]:
        """Returns weights by class that meet the found parities beside what they met before."""
        terms, weights = self.terms(found), {}
        for label, part in self._rows.items():
            asked = terms.asked(label, odd_rows(part.halves, terms.sets))
            (theta,) = tilt(
                [asked], self._records[label], strength=self._strength, weights=part.weights
            )
            moved = part.weights * np.exp(asked.tables.sums(theta, asked.codes))
            weights[label] = moved * (self._records[label] / moved.sum())
        return weights

    def terms(self, found: list[int]) -> ParityTerms:
        """Returns what each class is to meet."""
        counts, stds = {}, {}
        means = self._first[:, found] / np.maximum(self._records, 1e-9)[:, None]
        free = self._records[:, None] * np.maximum(1.0 - means**2, 0.0)
        for of_row, told in zip(self._signs, self._noisy.sums[:, found], strict=True):
            moved = _moved(of_row, self._records, np.clip(means, -1.0, 1.0), told)
            used = np.flatnonzero(of_row)
            whole = np.maximum(free[used].sum(axis=0), 1e-9)
            for label in used:
                wanted, records = self._records[label] * moved[label], self._records[label]
                counts[int(label)] = np.stack([records + wanted, records - wanted], axis=1) / 2.0
                part = float((free[label] / whole).max())
                stds[int(label)] = max(part * self._noisy.std / 2.0, _MIN_STD)
        sets = tuple(self._sets[place] for place in found)
        return ParityTerms(sets=sets, counts=counts, stds=stds)


def _moved(signs: Array, records: Array, means: Array, told: Array) -> Array:
    """Returns the mean of each parity in each class (C, T) of which the signed sum is as told.

    Args:
      signs: (C,) of the classes in this sum; 0 of others.
      records: (C,) of the classes.
      means: (C, T) in the model.
      told: (T,) noisy sums.
    """
    low, high = np.full(len(told), -1.0), np.ones(len(told))
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2.0
        pushed = signs[:, None] * middle
        moved = (means + pushed) / np.maximum(1.0 + means * pushed, 1e-12)
        below = (signs * records) @ moved < told
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    found: Array = np.clip(moved, -1.0, 1.0)
    return found
