"""Marginals of every class from noisy one-way counts, as logarithms that a decoder starts from.

Noise is larger than many cells, so a class is described by what all classes share plus what
stands out from it. On ordered bins both are read in a Haar basis: coefficients below the noise's
universal threshold sigma sqrt(2 log n) are dropped, which smooths fine grids where counts are
few and keeps spikes where they are certain. Then counts are projected to the simplex, and every
cell gets a floor far below the noise, so that no category is lost.

Source: Donoho & Johnstone 1994 (hard thresholding); all of it is post-processing.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.common.statistics import NoisyStatistics

__all__ = ["class_prior", "log_marginals", "simplex"]

Array = NDArray[np.float64]

# Probability that a block gives away to cells of which nothing was seen: this share of the
# noise's own standard deviation in records, and never more than the cap.
_FLOOR_IN_NOISE = 0.1
_FLOOR_CAP = 0.02
_SMALLEST_FLOOR = 1e-6


def class_prior(statistics: NoisyStatistics) -> Array:
    """Returns the probability of each class; classes that may not be synthesised get none."""
    allowed = np.asarray(statistics.encoding.class_sampleable, dtype=bool)
    counts = np.where(allowed, np.maximum(statistics.class_counts(), 0.0), 0.0)
    if counts.sum() <= 0.0:
        counts = allowed.astype(np.float64)
    prior: Array = counts / counts.sum()
    return prior


def log_marginals(statistics: NoisyStatistics) -> Array:
    """Returns log-probabilities of all cells within each class, (C, D)."""
    encoding, stds = statistics.encoding, statistics.one_way_std()
    sizes = np.maximum(statistics.class_counts(), 1.0)
    noisy = [statistics.one_way(label) for label in range(len(sizes))]
    result = np.zeros((len(sizes), encoding.width))
    for position, block in enumerate(encoding.features):
        bins = block.num_bins if block.ordered else 0
        std = float(stds[block.start : block.start + block.size].mean())
        pooled = np.sum([counts[position] for counts in noisy], axis=0)
        pooled = _standing_out(pooled, std * math.sqrt(len(sizes)), bins, keep_single=True)
        shared = simplex(pooled, float(sizes.sum())) / sizes.sum()
        for label, size in enumerate(sizes):
            own = noisy[label][position] - size * shared
            own = _standing_out(own - own.mean(), std, bins, keep_single=False)
            share = simplex(size * shared + own, float(size)) / size
            floor = min(max(_FLOOR_IN_NOISE * std / size, _SMALLEST_FLOOR), _FLOOR_CAP)
            share = (share + floor / block.size) / (1.0 + floor)
            result[label, block.start : block.start + block.size] = np.log(share)
    return result


def simplex(values: Array, total: float) -> Array:
    """Returns the nearest non-negative vector that sums to `total` > 0.

    >>> simplex(np.array([3.0, 1.0, -2.0]), 2.0).tolist()
    [2.0, 0.0, 0.0]
    """
    falling = np.sort(values)[::-1]
    excess = np.cumsum(falling) - total
    positive = np.flatnonzero(falling * np.arange(1, len(values) + 1) > excess)[-1]
    projected: Array = np.maximum(values - excess[positive] / (positive + 1), 0.0)
    return projected


def _standing_out(values: Array, std: float, bins: int, *, keep_single: bool) -> Array:
    """Drops what may be noise: Haar coefficients of the bins, and single cells beside them."""
    threshold = std * math.sqrt(2.0 * math.log(max(len(values), 2)))
    result = values.astype(np.float64)
    if bins > 1:
        basis = _haar(bins)
        coefficients = basis @ values[:bins]
        coefficients[1:] *= np.abs(coefficients[1:]) > threshold
        result[:bins] = basis.T @ coefficients
    if not keep_single:
        # Few cells, each a category of its own: shrunk together (James & Stein 1961).
        rest = result[bins:]
        energy = float(np.square(rest).sum())
        if energy > 0.0:
            result[bins:] = rest * max(0.0, 1.0 - max(len(rest) - 2, 1) * std**2 / energy)
    return result


@lru_cache(maxsize=256)
def _haar(size: int) -> NDArray[Any]:
    """Returns an orthonormal (size, size) Haar basis for any size; the first row is constant."""
    rows = [np.full(size, size**-0.5)]
    spans = [(0, size)]
    while spans:
        start, stop = spans.pop(0)
        if stop - start < 2:
            continue
        middle = (start + stop) // 2
        left, right = middle - start, stop - middle
        row = np.zeros(size)
        row[start:middle] = math.sqrt(right / (left * (left + right)))
        row[middle:stop] = -math.sqrt(left / (right * (left + right)))
        rows.append(row)
        spans += [(start, middle), (middle, stop)]
    return np.array(rows)
