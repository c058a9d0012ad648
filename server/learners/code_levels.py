"""Non-negative counts of codes under a public hierarchy, from noisy counts of some of its levels.

From the codes up, a node's own noisy count and the sum of what lies below it are averaged by their
variances (the upward pass of Hay et al. 2010, arXiv:0904.0942). Then downward, each node's count is
shared out among what lies below it: by posterior means of their ratio to a public expectation, each
code alike or as a public table has them, under a prior that is read from all nodes of that level
together. What stands out of the noise stays, and codes that noise hides are as expected within the
lowest node that stands out.

All of it is post-processing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.common.column_prior import Expected
from fedloom.server.learners.smoothing import flat, shared_out, towards

__all__ = ["smooth_codes"]

Array = NDArray[np.float64]


def smooth_codes(
    counts: Array,
    variances: Array,
    levels: Sequence[Sequence[int]],
    looked: Sequence[NDArray[Any]],
    std: float,
    total: float,
    known: Expected | None = None,
) -> Array:
    """Returns counts of codes, (n,), non-negative, with the given sum.

    Args:
      counts: (n,) noisy counts.
      variances: (n,) of their noise.
      levels: of each level above the codes, the finer first, the node of each of the first codes;
        codes beyond them are nodes of their own at each level.
      looked: the noisy counts of the nodes of each level, or nothing where codes alone were
        counted.
      std: standard deviation of the noise in each of `looked`.
      total: the sum, above 0.
      known: what a public table says of the codes; None for nothing.
    """
    n = len(counts)
    nodes = [np.arange(n), *(_all_nodes(level, n) for level in levels)]
    estimates = [(counts.astype(np.float64), np.maximum(variances, 1e-12))]
    for place in range(1, len(nodes)):
        up = _parents(nodes[place - 1], nodes[place])
        below, uncertain = (np.bincount(up, part).astype(np.float64) for part in estimates[-1])
        if looked:
            own = np.zeros(len(below))
            own[: len(looked[place - 1])] = looked[place - 1]
            precision = np.zeros(len(below))
            precision[: len(looked[place - 1])] = 1.0 / max(std**2, 1e-12)
            both = 1.0 / uncertain + precision
            below, uncertain = (below / uncertain + own * precision) / both, 1.0 / both
        estimates.append((below, uncertain))
    weights = np.ones(n) if known is None else known.shares / known.shares.sum()
    if known is None:
        masses = flat(*estimates[-1], total)
    else:
        expected = (total * np.bincount(nodes[-1], weights)).astype(np.float64)
        masses = towards(*estimates[-1], expected, known.misfit)
    for place in range(len(nodes) - 2, -1, -1):
        up = _parents(nodes[place], nodes[place + 1])
        members = np.bincount(nodes[place], weights)
        shares = members / np.bincount(up, members)[up]
        masses = shared_out(masses, up, shares, *estimates[place])
    return masses


def _all_nodes(level: Sequence[int], n: int) -> NDArray[np.int64]:
    """Returns the node of each of n codes; those beyond the level's are nodes of their own."""
    known = np.asarray(level, dtype=np.int64)
    return np.concatenate([known, known.max() + 1 + np.arange(n - len(known))])


def _parents(finer: NDArray[np.int64], coarser: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns the node of the coarser level above each node of the finer one."""
    return coarser[np.unique(finer, return_index=True)[1]]
