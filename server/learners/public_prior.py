"""What a public table says, joined to a study's noisy statistics before anything is fitted.

A column, over all classes or within one, is moved towards its public shares where that is expected
to err less than what is done without them (Stein's unbiased estimate of risk); how far follows from
how well all columns are predicted. Pairs and triples move in the same way (`public_relations`). All
of it is read from noisy answers, never from records, so a public table that does not fit is left
out or counts little. Post-processing.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from fedloom.common.column_marginals import ColumnMarginals
from fedloom.common.column_prior import ColumnPrior
from fedloom.common.encoding import Block
from fedloom.common.marginals import NoisyMarginals, TwoWayMarginals, group_sizes
from fedloom.common.models.cell_tables import CellTables
from fedloom.common.public_counts import PublicCounts, PublicRecords
from fedloom.common.three_way_marginals import ThreeWayMarginals
from fedloom.server.learners.class_marginals import class_prior, log_marginals
from fedloom.server.learners.public_relations import moved_towards, scaled_to
from fedloom.server.learners.smoothing import risk, risk_towards

__all__ = ["counted_like", "informed"]

Array = NDArray[Any]

_MIN_STD = 0.05
# A class of fewer noisy records tells nothing of its own, nor does one of fewer public ones.
_FEWEST = 1.0
# How classes differ is told from so many standard errors of the public table's strength on.
_TELLS = 3.0
# Chance of one column among all to be taken for another by accident, and of all together.
_SIGNIFICANT, _LIKELY = 1e-3, 0.01


def informed(statistics: NoisyMarginals, public: PublicCounts | None) -> NoisyMarginals:
    """Returns the statistics with what a public table adds; as they are without one.

    Args:
      statistics: a study's noisy sums, of columns not within classes, as far as they were asked.
      public: the public table's counts in the same layout.
    """
    if public is None or statistics.by_class:
        return statistics
    known = replace(statistics, prior=_columns(statistics, public))
    if known.groups is None or known.pairs is None or public.pairs is None:
        return known
    groups, pairs = known.groups, known.pairs
    prior = _within(known, public)
    known = replace(known, prior=prior)
    sizes, classes = group_sizes(known.encoding, groups), known.encoding.num_classes
    moved = moved_towards(
        CellTables(sizes, tuple(itertools.combinations(range(len(sizes)), 2))),
        pairs.reshape(classes, -1),
        max(known.pair_std or 0.0, _MIN_STD),
        public.pairs.reshape(classes, -1),
        _margins(known, groups, public),
    )
    if moved is not None:
        prior = replace(prior, relation_std=moved.std)
        known = replace(known, pairs=moved.counts.reshape(-1), prior=prior)
    triples = known.triples
    if triples is None or public.triples is None:
        return known
    found = moved_towards(
        ThreeWayMarginals(known.encoding, triples.groups).tables,
        triples.counts,
        max(triples.std, _MIN_STD),
        public.triples.reshape(classes, -1),
        _margins(known, triples.groups, public),
    )
    if found is None:
        return known
    return replace(known, triples=replace(triples, counts=found.counts, std=found.std))


def counted_like(public: PublicRecords, statistics: NoisyMarginals) -> PublicCounts:
    """Counts a public table as a study's statistics were counted."""
    triples = statistics.triples
    return public.counted(
        statistics.encoding,
        groups=statistics.groups,
        coarse=None if triples is None else triples.groups,
    )


def _columns(statistics: NoisyMarginals, public: PublicCounts) -> ColumnPrior:
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
        levels = measured.levels(public.columns, position)
        expected = total * _positive(_wide(block, cells[span], levels))
        told[block.name] = counts, np.full(len(counts), std**2), expected
    seen = float(measured.rows(public.columns)[0].sum())
    free = {name: risk(counts, noise, total) for name, (counts, noise, _) in told.items()}
    misfit = _predicted(told, free, 1.0 + total / max(seen, 1.0))
    return ColumnPrior(shares=shares, misfit=misfit, misfit_within={})


def _within(statistics: NoisyMarginals, public: PublicCounts) -> ColumnPrior:
    """Adds what is expected of columns within classes."""
    encoding, groups, prior = statistics.encoding, statistics.groups, statistics.prior
    assert groups is not None and public.pairs is not None and prior is not None
    measured = TwoWayMarginals(encoding, groups)
    sizes = np.maximum(statistics.class_counts(), 1.0)
    shared = class_prior(statistics) @ np.exp(log_marginals(statistics))
    noisy = [statistics.one_way(label) for label in range(encoding.num_classes)]
    tables = [dict(measured.tables(public.pairs, label)) for label in range(encoding.num_classes)]
    within = np.zeros((encoding.num_classes, encoding.width))
    told, free, agreed, size = {}, {}, 0.0, 0.0
    for position, block in enumerate(encoding.features):
        span = slice(block.start, block.start + block.size)
        of = groups[span].astype(np.int64)
        grouped = np.bincount(of, shared[span])
        counted = np.array([_margin(one, position) for one in tables], dtype=np.float64)
        expected = scaled_to(counted, [sizes, sizes.sum() * grouped / grouped.sum()])
        within[:, span] = (expected / expected.sum(axis=1, keepdims=True))[:, of]
        counts = np.array([np.bincount(of, noisy[c][position]) for c in range(len(sizes))])
        noise = np.tile(statistics.group_variances(position), (len(sizes), 1))
        told[block.name] = counts.ravel(), noise.ravel(), expected.ravel()
        alike = np.outer(sizes, grouped)
        free[block.name] = sum(
            risk(counts[label], noise[label], size_of, alike[label])
            for label, size_of in enumerate(sizes)
        )
        weight = 1.0 / np.maximum(noise, _MIN_STD**2)
        agreed += float(((counts - alike) * (expected - alike) * weight).sum())
        size += float((np.square(expected - alike) * weight).sum())
    # The classes must differ in the public table's direction: its strength, beyond its error.
    if agreed < _TELLS * math.sqrt(size):
        return replace(prior, within=within)
    seen = float(public.columns[: encoding.num_classes].sum())
    misfit = _predicted(told, free, 1.0 + float(sizes.sum()) / max(seen, 1.0))
    return replace(prior, within=within, misfit_within=misfit)


def _predicted(
    told: dict[str, tuple[Array, Array, Array]], free: dict[str, float], least: float
) -> dict[str, float]:
    """Returns c of each column that the public table predicts; of none if nothing is gained by it.

    A single column tells little of whether a public table is any good; all columns together do.

    Args:
      told: by column, noisy counts, variances of their noise, and what is expected.
      free: by column, the risk without a public table.
      least: c of a public table of the very population.
    """
    every, noises, wanted = (np.concatenate(part) for part in zip(*told.values(), strict=True))
    # As far as noise lets one see, it is the very population.
    if _chance(every, noises, wanted, least) > _LIKELY:
        return dict.fromkeys(told, least)
    found = []
    for counts, noise, expected in told.values():
        squares = float(np.square(counts - expected).sum())
        found.append((squares - float(noise.sum())) / float(expected.sum()))
    misfit = max(float(np.median(found)), least)
    used = {
        name: parts
        for name, parts in told.items()
        if _chance(*parts, misfit) > _SIGNIFICANT / len(told)
    }
    gained = sum(free[name] - risk_towards(*parts, misfit) for name, parts in used.items())
    return dict.fromkeys(used, misfit) if gained > 0.0 else {}


def _chance(counts: Array, noise: Array, expected: Array, misfit: float) -> float:
    """Returns the chance that noise and misfit take counts so far from what is expected."""
    evidence = float((np.square(counts - expected) / (noise + misfit * expected)).sum())
    return float(chi2.sf(evidence, len(counts)))


def _positive(cells: Array) -> Array:
    """Returns shares of public counts; no code is impossible because a public table lacks it."""
    pseudo = math.sqrt(max(float(cells.sum()), 1.0))
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


def _margins(
    statistics: NoisyMarginals, groups: Array, public: PublicCounts
) -> list[list[Array] | None]:
    """Returns the estimated records of each group of each feature, class by class."""
    encoding = statistics.encoding
    shares = np.exp(log_marginals(statistics))
    records = class_prior(statistics) * statistics.total()
    seen = ColumnMarginals(encoding).rows(public.columns)[0]
    found: list[list[Array] | None] = []
    for label, count in enumerate(records):
        if count < _FEWEST or seen[label] < _FEWEST:
            found.append(None)
            continue
        parts = []
        for block in encoding.features:
            span = slice(block.start, block.start + block.size)
            part = np.bincount(groups[span].astype(np.int64), shares[label, span])
            parts.append(float(count) * part / part.sum())
        found.append(parts)
    return found
