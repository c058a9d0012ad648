"""Noisy answers of two studies about the same records, put together by the noise of each.

Two answers y1, y2 to the same question about the same records have independent Gaussian noise of
known standard deviations s1, s2. Their mean weighted by 1 / s^2 has the standard deviation
(1 / s1^2 + 1 / s2^2)^(-1/2), the least of any unbiased one (Gauss-Markov). Counts on groups can be
put together where both studies used the same groups, so a design takes the earlier ones.

Whether the records are the same can be seen: then the difference of the looks is noise alone, and
the sum of its squares over s1^2 + s2^2 is chi-square of as many degrees as there are counts. A sum
that chance reaches less than once in a million says that the records have changed, and the
earlier answers are left out, all of them.

Guarantee: post-processing of answers that were paid for, each by its own study. A record that both
studies asked about loses the sum of both.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from fedloom.common.class_column_marginals import NoisyClassColumns
from fedloom.common.marginals import NoisyMarginals
from fedloom.common.set_marginals import NoisyItems

__all__ = ["combined", "same_records"]

Array = NDArray[Any]

_CHANCE = 1e-6
_MIN_STD = 1e-9


def same_records(new: NoisyMarginals, old: NoisyMarginals) -> bool:
    """Says whether noise alone explains how the columns of two studies differ."""
    if new.look.shape != old.look.shape or new.by_class != old.by_class:
        return False
    variance = max(new.look_std**2 + old.look_std**2, _MIN_STD)
    evidence = float(np.square(new.look - old.look).sum() / variance)
    return bool(chi2.sf(evidence, new.look.size) > _CHANCE)


def combined(new: NoisyMarginals, old: NoisyMarginals) -> NoisyMarginals:
    """Returns the new study's statistics with the earlier answers; as they are if records changed.

    Args:
      new: as far as they were asked.
      old: all of the earlier study's, of the same encoding.
    """
    if not same_records(new, old):
        return new
    look, std = _mean(new.look, new.look_std, old.look, old.look_std)
    found = replace(new, look=look, look_std=std)
    if new.items is not None and old.items is not None:
        found = replace(found, items=_items(new.items, old.items))
    if new.pairs is None or old.pairs is None or not _alike(new.groups, old.groups):
        return found
    pairs, std = _mean(new.pairs, new.pair_std or 0.0, old.pairs, old.pair_std or 0.0)
    found = replace(found, pairs=pairs, pair_std=std)
    if new.class_columns is not None and old.class_columns is not None:
        ours, theirs = new.class_columns, old.class_columns
        parts = zip(ours.counts, theirs.counts, strict=True)
        means = [_mean(one, ours.std, other, theirs.std) for one, other in parts]
        of_classes = NoisyClassColumns(counts=tuple(part for part, _ in means), std=means[0][1])
        found = replace(found, class_columns=of_classes)
    if new.triples is not None and old.triples is not None:
        if np.array_equal(new.triples.groups, old.triples.groups):
            counts, std = _mean(
                new.triples.counts, new.triples.std, old.triples.counts, old.triples.std
            )
            found = replace(found, triples=replace(new.triples, counts=counts, std=std))
    if new.parities is not None and old.parities is not None:
        if np.array_equal(new.parities.halves, old.parities.halves):
            sums, std = _mean(
                new.parities.sums, new.parities.std, old.parities.sums, old.parities.std
            )
            found = replace(found, parities=replace(new.parities, sums=sums, std=std))
    return found


def _items(new: NoisyItems, old: NoisyItems) -> NoisyItems:
    """Returns the items of sets of both; of what was counted with them where it was the same."""
    counts, std = _mean(new.counts, new.std, old.counts, old.std)
    ours, theirs, pairs = new.pairs, old.pairs, new.pairs
    if ours is not None and theirs is not None:
        same = _alike(ours.measured.groups, theirs.measured.groups)
        if same and _alike(ours.measured.items, theirs.measured.items):
            sums, noise = _mean(ours.sums, ours.std, theirs.sums, theirs.std)
            pairs = replace(ours, sums=sums, std=noise)
    return NoisyItems(counts=counts, std=std, pairs=pairs)


def _alike(new: Array | None, old: Array | None) -> bool:
    return new is not None and old is not None and np.array_equal(new, old)


def _mean(new: Array, new_std: float, old: Array, old_std: float) -> tuple[Array, float]:
    weights = [1.0 / max(std, _MIN_STD) ** 2 for std in (new_std, old_std)]
    total = sum(weights)
    return (weights[0] * new + weights[1] * old) / total, float(total**-0.5)
