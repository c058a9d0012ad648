"""A smooth, non-negative histogram from noisy counts at several widths.

From the finest level up, a cell's own noisy count and the sum of its children are averaged by
their variances (the upward pass of Hay et al. 2010, arXiv:0904.0942). Downward, every span is
split in two, over and over: the share that a half takes of its parent is a posterior mean under a
prior read from all splits of the same width, as `fedloom.server.learners.smoothing` has it, so
that what stands out of the noise stays and the rest follows the public widths. All of it is
post-processing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.common.hierarchy import BRANCHING
from fedloom.server.learners.smoothing import split_masses

__all__ = ["smooth_hierarchy"]

Array = NDArray[np.float64]


def smooth_hierarchy(
    levels: Sequence[NDArray[Any]], std: float, expected: Array, total: float
) -> Array:
    """Returns counts of the finest cells, (n,), non-negative, with the given sum.

    Args:
      levels: noisy counts of each level of `fedloom.common.hierarchy`, the finest first.
      std: standard deviation of the noise in each of them.
      expected: (n,) not negative: the shape that cells have where noise prevails, such as widths.
      total: the sum, above 0.
    """
    estimates = _upward(levels, std)
    length = BRANCHING ** len(levels)
    while length < len(expected):
        length *= BRANCHING
    shape = _padded(np.asarray(expected, dtype=np.float64), length)
    masses, span = np.array([float(total)]), length
    while span > 1:
        half = span // 2
        width, (means, variances) = _finest_within(estimates, half)
        parts = (length // span, 2, half // width)
        counts = _padded(means, length // width).reshape(parts).sum(axis=2)
        noise = _padded(variances, length // width).reshape(parts).sum(axis=2)
        masses = split_masses(masses, shape.reshape(-1, 2, half).sum(axis=2), counts, noise)
        span = half
    return masses[: len(expected)]


def _upward(levels: Sequence[NDArray[Any]], std: float) -> list[tuple[Array, Array]]:
    """Returns estimate and variance of each cell from its own count and all below it."""
    finest = np.asarray(levels[0], dtype=np.float64)
    estimates = [(finest, np.full(len(finest), std**2))]
    for counts in levels[1:]:
        below, uncertain = (
            _padded(part, len(counts) * BRANCHING).reshape(-1, BRANCHING).sum(axis=1)
            for part in estimates[-1]
        )
        own = uncertain / (uncertain + std**2)
        estimates.append((own * counts + (1.0 - own) * below, own * std**2))
    return estimates


def _finest_within(
    estimates: list[tuple[Array, Array]], width: int
) -> tuple[int, tuple[Array, Array]]:
    """Returns the widest level whose cells are no wider than `width`, with its estimates."""
    level = 0
    while level + 1 < len(estimates) and BRANCHING ** (level + 1) <= width:
        level += 1
    return BRANCHING**level, estimates[level]


def _padded(values: Array, length: int) -> Array:
    padded = np.zeros(length)
    padded[: len(values)] = values
    return padded
