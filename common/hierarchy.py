"""A histogram at several widths: each cell of a level joins four cells of the finer one.

One count a level and record is added, so the sensitivity grows with the square root of the number
of levels, not with the number of cells: thousands of cells can be looked at, and a range of any
width is the sum of few noisy counts instead of many.

Source: hierarchical histograms, Hay et al. 2010 (arXiv:0904.0942); the branching of four was
chosen beside 2, 8 and 16 on six made-up skewed columns (`tests/server/test_hierarchy.py` has their
kinds).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["BRANCHING", "level_counts", "level_sizes"]

BRANCHING = 4
# A level as coarse as that says nothing that the pairs of columns do not say better.
_COARSEST = 16


def level_sizes(num_cells: int) -> tuple[int, ...]:
    """Returns the cells of each level, the finest first.

    Args:
      num_cells: of the finest level, at least 1.

    >>> level_sizes(12), level_sizes(1000)
    ((12,), (1000, 250, 63, 16))
    """
    sizes = [num_cells]
    while sizes[-1] > _COARSEST:
        sizes.append(-(-sizes[-1] // BRANCHING))
    return tuple(sizes)


def level_counts(codes: NDArray[Any], num_cells: int) -> Iterator[NDArray[np.int64]]:
    """Yields the exact counts of each level, the finest first.

    Args:
      codes: (N,) cells of the finest level.
      num_cells: of the finest level.
    """
    counts = np.bincount(codes, minlength=num_cells).astype(np.int64)
    for size in level_sizes(num_cells):
        if size != len(counts):
            padded = np.zeros(size * BRANCHING, dtype=np.int64)
            padded[: len(counts)] = counts
            counts = padded.reshape(size, BRANCHING).sum(axis=1)
        yield counts
