"""What a public table says of single columns, over all classes and within them.

A column is moved towards its public shares where that is expected to err less than what is done
without them (Stein's unbiased estimate of risk); how far follows from how well all columns are
predicted. Within classes it is first asked how much of what classes differ in is right
(`public_strength`): of counts J within classes beside those that alike classes would have, and the
public table's I, each weighed by the noise of J. A column in which the answers contradict the
public table has nothing of it. Post-processing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from fedloom.common.column_marginals import ColumnMarginals
from fedloom.common.column_prior import ColumnPrior
from fedloom.common.encoding import Block
from fedloom.common.marginals import NoisyMarginals, TwoWayMarginals
from fedloom.common.public_counts import PublicCounts
from fedloom.server.learners.class_marginals import class_prior, log_marginals
from fedloom.server.learners.public_relations import scaled_to
from fedloom.server.learners.public_strength import strengths, tells
from fedloom.server.learners.smoothing import risk, risk_towards

__all__ = ["columns_within", "whole_columns"]

Array = NDArray[Any]

_MIN_STD = 0.05
# Chance of one column among all to be taken for another by accident, and of all together.
_SIGNIFICANT, _LIKELY = 1e-3, 0.01


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Told:
    """A column's counts, and what is expected of them.

    Attributes:
      counts: (k,) noisy counts.
      noise: (k,) variances of their noise.
      expected: (k,) by the public table.
      free: estimated squared error of what is done without a public table.
    """

    counts: Array
    noise: Array
    expected: Array
    free: float

    def chance(self, misfit: float) -> float:
        """Returns the chance that noise and misfit take counts so far from what is expected."""
        spread = self.noise + misfit * self.expected
        evidence = float((np.square(self.counts - self.expected) / spread).sum())
        return float(chi2.sf(evidence, len(self.counts)))

    def misfit(self) -> float:
        """Returns c as this column alone tells it; noise may take it below 0."""
        squares = float(np.square(self.counts - self.expected).sum())
        return (squares - float(self.noise.sum())) / float(self.expected.sum())

    def gain(self, misfit: float) -> float:
        """Returns by how much the public table lessens the estimated squared error."""
        return self.free - risk_towards(self.counts, self.noise, self.expected, misfit)


def whole_columns(statistics: NoisyMarginals, public: PublicCounts) -> ColumnPrior:
    """Returns what is expected of columns over all classes."""
    measured, total = ColumnMarginals(statistics.encoding), statistics.total()
    cells = measured.rows(public.columns)[1].astype(np.float64)
    looked, std = statistics.looked_codes(), max(statistics.look_std, _MIN_STD)
    shares, told = np.zeros(len(cells)), {}
    for position, block in enumerate(statistics.encoding.features):
        span = slice(block.start, block.start + block.size)
        shares[span] = _positive(cells[span])
        wider = statistics.axis_levels(position) or statistics.code_levels(position)
        counts = _wide(block, looked[span], wider)
        noise = np.full(len(counts), std**2)
        levels = measured.levels(public.columns, position)
        expected = total * _positive(_wide(block, cells[span], levels))
        free = risk(counts, noise, total)
        told[block.name] = _Told(counts=counts, noise=noise, expected=expected, free=free)
    misfit = _gaining(told, _fitting(told, _least(statistics, public)))
    return ColumnPrior(shares=shares, misfit=misfit, misfit_within={})


def columns_within(
    statistics: NoisyMarginals, public: PublicCounts, prior: ColumnPrior
) -> tuple[ColumnPrior, Array]:
    """Adds what is expected of columns within classes.

    Args:
      statistics: noisy sums with pairs, and with `prior` already.
      public: the public table's counts in the same layout.
      prior: what is expected of columns over all classes.

    Returns:
      The prior, and how much of what classes differ in is right by column, (m,) between 0 and 1;
      1 where there is one class.
    """
    encoding = statistics.encoding
    columns = list(_classes_of(statistics, public))
    if encoding.num_classes == 1:
        return prior, np.ones(len(columns))
    least = _least(statistics, public)
    agreed, size, alone, spread = np.array([column.sums(least) for column in columns]).T
    if not tells(agreed, alone):
        return prior, np.zeros(len(columns))
    strength = strengths(agreed, size, spread, [(place,) for place in range(len(columns))])
    told, within = {}, np.zeros((encoding.num_classes, encoding.width))
    for part, column in zip(strength, columns, strict=True):
        expected = column.alike + part * column.apart
        span = slice(column.block.start, column.block.start + column.block.size)
        within[:, span] = (expected / expected.sum(axis=1, keepdims=True))[:, column.groups]
        if part > 0.0:
            told[column.block.name] = column.told(expected)
    fitting = _fitting(told, least)
    prior = replace(prior, within=within, misfit_within=_gaining(told, fitting))
    fits = [column.block.name in fitting for column in columns]
    return prior, np.where(fits, strength, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Classes:
    """A column's groups within classes.

    Attributes:
      block: the column.
      groups: (size,) group of each code.
      counts: (C, G) noisy counts.
      noise: (C, G) variances of their noise.
      alike: (C, G) counts that classes would have if they were alike.
      apart: (C, G) what the public table adds to that.
    """

    block: Block
    groups: Array
    counts: Array
    noise: Array
    alike: Array
    apart: Array

    def sums(self, misfit: float) -> tuple[float, float, float, float]:
        """Returns <J, I>, <I, I> and the variance of the first, by noise and with misfit too."""
        weight = 1.0 / np.maximum(self.noise, _MIN_STD**2)
        weighed = self.apart * weight
        spread = self.noise + misfit * np.maximum(self.alike + self.apart, 0.0)
        return (
            float(((self.counts - self.alike) * weighed).sum()),
            float((self.apart * weighed).sum()),
            float((np.square(weighed) * self.noise).sum()),
            float((np.square(weighed) * spread).sum()),
        )

    def told(self, expected: Array) -> _Told:
        """Returns all classes' groups beside what is expected of them."""
        rows = zip(self.counts, self.noise, self.alike, strict=True)
        free = sum(risk(counts, noise, float(own.sum()), own) for counts, noise, own in rows)
        flat = (part.ravel() for part in (self.counts, self.noise, expected))
        counts, noise, wanted = flat
        return _Told(counts=counts, noise=noise, expected=wanted, free=free)


def _classes_of(statistics: NoisyMarginals, public: PublicCounts) -> Iterator[_Classes]:
    """Yields the columns within classes, as noisy counts and the public table have them."""
    encoding, groups = statistics.encoding, statistics.groups
    assert groups is not None and public.pairs is not None
    measured, labels = TwoWayMarginals(encoding, groups), range(encoding.num_classes)
    sizes = np.maximum(statistics.class_counts(), 1.0)
    shared = class_prior(statistics) @ np.exp(log_marginals(statistics))
    noisy = [statistics.one_way(label) for label in labels]
    tables = [dict(measured.tables(public.pairs, label)) for label in labels]
    for position, block in enumerate(encoding.features):
        of = groups[block.start : block.start + block.size].astype(np.int64)
        grouped = np.bincount(of, shared[block.start : block.start + block.size])
        counted = np.array([_margin(one, position) for one in tables], dtype=np.float64)
        alike = np.outer(sizes, grouped / grouped.sum())
        yield _Classes(
            block=block,
            groups=of,
            counts=np.array([np.bincount(of, row[position]) for row in noisy]),
            noise=np.tile(statistics.group_variances(position), (len(sizes), 1)),
            alike=alike,
            apart=scaled_to(counted, [sizes, alike.sum(axis=0)]) - alike,
        )


def _fitting(told: Mapping[str, _Told], least: float) -> dict[str, float]:
    """Returns c of each column in which the counts do not contradict the public table.

    A single column tells little of whether a public table is any good; all columns together do.

    Args:
      told: by column.
      least: c of a public table of the very population.
    """
    if not told:
        return {}
    every = _Told(
        counts=np.concatenate([one.counts for one in told.values()]),
        noise=np.concatenate([one.noise for one in told.values()]),
        expected=np.concatenate([one.expected for one in told.values()]),
        free=0.0,
    )
    # As far as noise lets one see, it is the very population.
    if every.chance(least) > _LIKELY:
        return dict.fromkeys(told, least)
    misfit = max(float(np.median([one.misfit() for one in told.values()])), least)
    limit = _SIGNIFICANT / len(told)
    return {name: misfit for name, one in told.items() if one.chance(misfit) > limit}


def _gaining(told: Mapping[str, _Told], fitting: dict[str, float]) -> dict[str, float]:
    """Returns c of the columns, of none if all together gain nothing by the public table."""
    gain = sum(told[name].gain(misfit) for name, misfit in fitting.items())
    return fitting if gain > 0.0 else {}


def _least(statistics: NoisyMarginals, public: PublicCounts) -> float:
    """Returns c of a public table of the very population: 1 + N / n."""
    seen = float(public.columns[: statistics.encoding.num_classes].sum())
    return 1.0 + statistics.total() / max(seen, 1.0)


def _positive(cells: Array) -> Array:
    """Returns shares of public counts; no code is impossible because a public table lacks it."""
    pseudo = float(np.sqrt(max(float(cells.sum()), 1.0)))
    shares: Array = (cells + pseudo / len(cells)) / (cells.sum() + pseudo)
    return shares


def _margin(tables: dict[tuple[int, int], Array], position: int) -> Array:
    """Returns the public records of a feature's groups in a class."""
    pair = next(pair for pair in tables if position in pair)
    return np.asarray(tables[pair].sum(axis=1 - pair.index(position)))


def _wide(block: Block, cells: Array, levels: list[Array]) -> Array:
    """Returns a block's cells beside its axis or hierarchy, then that at its widest level."""
    below = len(levels[0]) if levels else block.num_bins if block.ordered else 0
    top = levels[-1] if levels else cells[:below]
    return np.concatenate([cells[below:], top]).astype(np.float64)
