"""Marginals of every class from noisy one-way counts, as logarithms that a decoder starts from.

A column is first described by all classes together; each class is then taken to resemble that
description as far as its own counts do not say otherwise. Cells without an order are read by
`smoothing.flat` and `smoothing.near`, bins of an axis by `smoothing.tree`. Cells that may not be
synthesised get nothing but the floor that keeps every logarithm finite. All of it is
post-processing.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.common.column_prior import Expected
from fedloom.common.encoding import Block
from fedloom.common.marginals import NoisyMarginals
from fedloom.server.learners.code_levels import smooth_codes
from fedloom.server.learners.hierarchy import smooth_hierarchy
from fedloom.server.learners.smoothing import flat, near, towards, tree

__all__ = ["class_prior", "log_marginals"]

Array = NDArray[np.float64]

# Share of a block that every cell keeps at least, divided by the block's size.
_FLOOR = 1e-6
# Beyond that many cells of a column, smoothing takes the noise of the others away.
_CELLS_THAT_COUNT = 8


def class_prior(statistics: NoisyMarginals) -> Array:
    """Returns the probability of each class; classes that may not be synthesised get none."""
    allowed = np.asarray(statistics.encoding.class_sampleable, dtype=bool)
    counts = np.where(allowed, np.maximum(statistics.class_counts(), 0.0), 0.0)
    if counts.sum() <= 0.0:
        counts = allowed.astype(np.float64)
    prior: Array = counts / counts.sum()
    return prior


def log_marginals(statistics: NoisyMarginals) -> Array:
    """Returns log-probabilities of all cells within each class, (C, D)."""
    if not statistics.by_class:
        return _from_columns(statistics)
    encoding = statistics.encoding
    prior = class_prior(statistics)
    used = np.flatnonzero(prior > 0)
    sizes = np.maximum(statistics.class_counts(), 1.0)
    noisy = [np.concatenate(statistics.one_way(label)) for label in range(len(sizes))]
    result = np.zeros((len(sizes), encoding.width))
    for block in encoding.features:
        span = slice(block.start, block.start + block.size)
        covariance = _covariance(statistics, block, statistics.one_way_std()[span])
        weights = _weights(sizes[used], covariance)
        pooled = np.sum(
            [w * noisy[label][span] for w, label in zip(weights, used, strict=True)], axis=0
        )
        total = float((weights * sizes[used]).sum())
        shared = _pooled(block, pooled, covariance * np.square(weights).sum(), total) / total
        for label, size in enumerate(sizes):
            own = _own(block, noisy[label][span], covariance, shared * size) / size
            share = np.where(block.sampleable, own, 0.0)
            share = share / share.sum() * (1.0 - _FLOOR) + _FLOOR / block.size
            result[label, span] = np.log(share)
    return result


def _from_columns(statistics: NoisyMarginals) -> Array:
    """Returns what `log_marginals` does where columns were not counted within classes.

    A class's groups are those of its pairs, where they stand out from the column's; within a group
    a class has the column's codes. Without pairs all classes are alike.
    """
    encoding, total = statistics.encoding, statistics.total()
    sizes = np.maximum(statistics.class_counts(), 1.0)
    noisy = [np.concatenate(statistics.one_way(label)) for label in range(len(sizes))]
    together = np.sum(noisy, axis=0)
    result = np.zeros((len(sizes), encoding.width))
    for position, block in enumerate(encoding.features):
        span = slice(block.start, block.start + block.size)
        groups = _groups_of(statistics, block)
        levels, codes = statistics.axis_levels(position), statistics.code_levels(position)
        if levels:
            shared = _looked_at_many_widths(statistics, block, levels, together[span])
        elif codes:
            shared = _looked_at_many_levels(statistics, block, codes, together[span])
        else:
            covariance = _covariance(statistics, block, statistics.column_std()[span])
            known = _expected(statistics, block)
            shared = _pooled(block, together[span], covariance, total, known) / total
        grouped = np.bincount(groups, shared)
        for label, size in enumerate(sizes):
            own = grouped
            if statistics.groups is not None:
                counts = np.bincount(groups, noisy[label][span]).astype(np.float64)
                variances = statistics.group_variances(position)
                own = (
                    _own_groups(statistics, block, label, counts, variances, grouped * size) / size
                )
            cells = shared * (own / np.maximum(grouped, 1e-300))[groups]
            share = np.where(block.sampleable, np.maximum(cells, 0.0), 0.0)
            share = share / max(float(share.sum()), 1e-300) * (1.0 - _FLOOR) + _FLOOR / block.size
            result[label, span] = np.log(share)
    return result


def _looked_at_many_widths(
    statistics: NoisyMarginals, block: Block, levels: list[Array], together: Array
) -> Array:
    """Returns the shares of a block's codes over all classes, its axis seen at many widths.

    Groups of cells are then moved to what columns and pairs say of them together.
    """
    total, std = statistics.total(), statistics.look_std
    cells, bins = _cells(block)
    looked = statistics.looked_codes()[block.start : block.start + block.size]
    top = levels[-1]
    heads = np.append(looked[cells], top.sum())
    variances = np.append(np.full(len(cells), std**2), len(top) * std**2)
    known = _expected(statistics, block)
    heads = _shrunk(heads, variances, total, known, cells, bins)
    found = np.zeros(block.size)
    found[cells] = heads[:-1]
    axis = np.ones(bins) if known is None else known.shares[:bins]
    found[:bins] = smooth_hierarchy(levels, std, axis, max(float(heads[-1]), 1e-9))
    return _moved_to_groups(statistics, block, found, together) / total


def _looked_at_many_levels(
    statistics: NoisyMarginals, block: Block, levels: list[Array], together: Array
) -> Array:
    """Returns the shares of a block's codes over all classes, seen at each level of a hierarchy."""
    total, std = statistics.total(), statistics.look_std
    cells, _ = _cells(block)
    looked = statistics.looked_codes()[block.start : block.start + block.size]
    variances = np.full(len(cells), std**2)
    found = np.zeros(block.size)
    known = _expected(statistics, block)
    known = None if known is None else replace(known, shares=known.shares[cells])
    found[cells] = smooth_codes(
        looked[cells], variances, block.levels, levels[1:], std, total, known
    )
    return _moved_to_groups(statistics, block, found, together) / total


def _moved_to_groups(
    statistics: NoisyMarginals, block: Block, found: Array, together: Array
) -> Array:
    """Moves groups of codes to what columns and pairs say of them together."""
    if statistics.groups is None:
        return found
    std, groups = statistics.look_std, _groups_of(statistics, block)
    of_group = statistics.column_std()[block.start : block.start + block.size]
    members = np.bincount(groups).astype(np.float64)
    within = std**2 * (1.0 - 1.0 / members)
    spread = np.maximum(np.bincount(groups, of_group**2) / members - within, 0.0) * members**2
    expected = np.bincount(groups, found).astype(np.float64)
    moved = near(np.bincount(groups, together).astype(np.float64), spread, expected)
    result: Array = found * (moved / np.maximum(expected, 1e-300))[groups]
    return result


def _groups_of(statistics: NoisyMarginals, block: Block) -> NDArray[Any]:
    if statistics.groups is None:
        return np.zeros(block.size, dtype=np.int64)
    return np.asarray(statistics.groups[block.start : block.start + block.size], dtype=np.int64)


def _weights(sizes: Array, covariance: Array) -> Array:
    """Returns how much each class counts for what all share: small ones add little but noise."""
    cells = min(len(covariance), _CELLS_THAT_COUNT)
    noise = cells * math.sqrt(float(np.diag(covariance).mean()))
    weights: Array = sizes / (sizes + noise)
    return weights


def _covariance(statistics: NoisyMarginals, block: Block, std: Array) -> Array:
    """Returns the covariance (size, size) of a block's cells: within groups the look's alone.

    Args:
      statistics: the noisy counts.
      block: the column.
      std: (size,) standard deviation of each cell's estimate.
    """
    groups = _groups_of(statistics, block)
    members = np.bincount(groups).astype(np.float64)
    look = statistics.look_std**2
    group = std**2 - look * (1.0 - 1.0 / members[groups])
    same = groups[:, None] == groups[None, :]
    covariance: Array = look * (np.eye(block.size) - same / members[groups])
    if statistics.groups is not None:
        covariance += np.where(same, group, 0.0)
    return covariance


def _pooled(
    block: Block,
    counts: Array,
    covariance: Array,
    total: float,
    known: Expected | None = None,
) -> Array:
    """Returns the counts of a block over all classes, zero where nothing may be synthesised.

    Args:
      block: the column.
      counts: (size,) noisy counts.
      covariance: (size, size) of their noise.
      total: number of records.
      known: what a public table says of it; None for nothing.
    """
    cells, bins = _cells(block)
    heads, variances = _heads(counts, covariance, cells, bins)
    found = np.zeros(block.size)
    heads = _shrunk(heads, variances, total, known, cells, bins)
    found[cells] = heads[: len(cells)]
    if bins:
        axis = np.ones(bins) if known is None else known.shares[:bins]
        found[:bins] = tree(counts[:bins], covariance[:bins, :bins], axis, float(heads[-1]))
    return found


def _expected(statistics: NoisyMarginals, block: Block) -> Expected | None:
    return None if statistics.prior is None else statistics.prior.of(block)


def _shrunk(
    counts: Array,
    variances: Array,
    total: float,
    known: Expected | None,
    cells: NDArray[Any],
    bins: int,
) -> Array:
    """Returns counts of single cells, and of all bins together if any, near what is expected."""
    if known is None:
        return flat(counts, variances, total)
    shares = known.shares[cells]
    if bins:
        shares = np.append(shares, known.shares[:bins].sum())
    return towards(counts, variances, shares * (total / float(shares.sum())), known.misfit)


def _own_groups(
    statistics: NoisyMarginals,
    block: Block,
    label: int,
    counts: Array,
    variances: Array,
    expected: Array,
) -> Array:
    """Returns a class's groups: near those of all classes, or where a public table has them."""
    known, groups = None, _groups_of(statistics, block)
    if statistics.prior is not None:
        known = statistics.prior.of_groups(block, label, groups)
    if known is None:
        return near(counts, variances, expected)
    return towards(counts, variances, known.shares * float(expected.sum()), known.misfit)


def _own(block: Block, counts: Array, covariance: Array, expected: Array) -> Array:
    """Returns a class's counts of a block, where they stand out from the expected ones."""
    cells, bins = _cells(block)
    heads, variances = _heads(counts, covariance, cells, bins)
    found = np.zeros(block.size)
    heads = near(heads, variances, _heads(expected, covariance, cells, bins)[0])
    found[cells] = heads[: len(cells)]
    if bins:
        shape = expected[:bins] + 1e-6 * max(float(expected[:bins].sum()), 1e-6) / bins
        found[:bins] = tree(counts[:bins], covariance[:bins, :bins], shape, float(heads[-1]))
    return found


def _cells(block: Block) -> tuple[NDArray[Any], int]:
    """Returns the cells without an order that may be synthesised, and the number of bins."""
    bins = block.num_bins if block.ordered else 0
    return bins + np.flatnonzero(np.asarray(block.sampleable)[bins:]), bins


def _heads(counts: Array, covariance: Array, cells: NDArray[Any], bins: int) -> tuple[Array, Array]:
    """Returns counts and variances of the single cells, and of all bins together, if any."""
    variances = np.diag(covariance)[cells]
    if not bins:
        return counts[cells], variances
    return (
        np.append(counts[cells], counts[:bins].sum()),
        np.append(variances, covariance[:bins, :bins].sum()),
    )
