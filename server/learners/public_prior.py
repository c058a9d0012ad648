"""What a public table says, joined to a study's noisy statistics before anything is fitted.

Single columns come first (`public_columns`), then what columns have to do with each other
(`public_relations`). All of it is read from noisy answers, never from records, so that a public
table that does not fit is left out or counts little. Post-processing.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.common.column_marginals import ColumnMarginals
from fedloom.common.marginals import NoisyMarginals, group_sizes
from fedloom.common.models.cell_tables import CellTables
from fedloom.common.public_counts import PublicCounts, PublicRecords
from fedloom.common.three_way_marginals import ThreeWayMarginals
from fedloom.server.learners.class_marginals import class_prior, log_marginals
from fedloom.server.learners.earlier_answers import combined
from fedloom.server.learners.public_columns import columns_within, whole_columns
from fedloom.server.learners.public_relations import moved_towards

__all__ = ["counted_like", "informed", "with_public"]

Array = NDArray[Any]

_MIN_STD = 0.05
# A class of fewer noisy records tells nothing of its own, nor does one of fewer public ones.
_FEWEST = 1.0


def with_public(
    statistics: NoisyMarginals, public: PublicRecords | PublicCounts | NoisyMarginals
) -> NoisyMarginals:
    """Returns a study's statistics with what its `[public]` adds.

    Args:
      statistics: as far as they were asked.
      public: rows or counts of a public table, or an earlier study's answers about the same
        records.
    """
    if isinstance(public, NoisyMarginals):
        return combined(statistics, public)
    if isinstance(public, PublicRecords):
        public = counted_like(public, statistics)
    return informed(statistics, public)


def informed(statistics: NoisyMarginals, public: PublicCounts | None) -> NoisyMarginals:
    """Returns the statistics with what a public table adds; as they are without one.

    Args:
      statistics: a study's noisy sums, of columns not within classes, as far as they were asked.
      public: the public table's counts in the same layout.
    """
    if public is None or statistics.by_class:
        return statistics
    prior = whole_columns(statistics, public)
    known = replace(statistics, prior=prior)
    if known.groups is None or known.pairs is None or public.pairs is None:
        return known
    groups, pairs = known.groups, known.pairs
    prior, most = columns_within(known, public, prior)
    known = replace(known, prior=prior)
    if not most.any():
        return known
    sizes, classes = group_sizes(known.encoding, groups), known.encoding.num_classes
    moved = moved_towards(
        CellTables(sizes, tuple(itertools.combinations(range(len(sizes)), 2))),
        pairs.reshape(classes, -1),
        max(known.pair_std or 0.0, _MIN_STD),
        public.pairs.reshape(classes, -1),
        _margins(known, groups, public),
        most=most,
    )
    if moved is not None:
        prior = replace(prior, pair_std=moved.std)
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
        most=most,
    )
    if found is None:
        return known
    prior = replace(prior, triple_std=found.std)
    return replace(known, triples=replace(triples, counts=found.counts), prior=prior)


def counted_like(public: PublicRecords, statistics: NoisyMarginals) -> PublicCounts:
    """Counts a public table as a study's statistics were counted."""
    triples = statistics.triples
    return public.counted(
        statistics.encoding,
        groups=statistics.groups,
        coarse=None if triples is None else triples.groups,
    )


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
