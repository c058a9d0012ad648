"""Groups of codes under a public hierarchy: each rare code joins the lowest node that stands out.

A code that weighs enough stands alone. What is left of a node's codes is a group of its own where
it weighs enough together, and otherwise joins what is left of the node above. It is deterministic
post-processing of noisy counts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.common.encoding import Block

__all__ = ["code_groups"]

_RAISE = 1.25


def code_groups(
    block: Block, shares: NDArray[Any], *, least: float, most: int
) -> NDArray[np.int32]:
    """Returns the group of each cell of a block, (size,), numbered from 0 without a gap.

    Args:
      block: of a category with a hierarchy.
      shares: (size,) estimated share of each cell.
      least: share that a group has at the least, above 0; what is left over at the top may have
        half of it.
      most: number of groups, at least 1; `least` is raised until it is kept.
    """
    if most <= 1:
        return np.zeros(block.size, dtype=np.int32)
    while True:
        groups = _joined(block, shares, least)
        if groups.max() < most:
            return groups
        least *= _RAISE


def _joined(block: Block, shares: NDArray[Any], least: float) -> NDArray[np.int32]:
    groups = np.full(block.size, -1, dtype=np.int32)
    extra = np.arange(block.size - block.num_bins)
    used = 0
    for level in (tuple(range(block.num_bins)), *block.levels):
        nodes = np.concatenate([np.asarray(level), max(level) + 1 + extra])
        left = groups < 0
        weights = np.bincount(nodes[left], shares[left], minlength=int(nodes.max()) + 1)
        for node in np.argsort(-weights, kind="stable"):
            if weights[node] < least:
                break
            groups[left & (nodes == node)] = used
            used += 1
    left = groups < 0
    if left.any():
        # What is left over has a group of its own if it weighs something, or none beside it.
        heavy = used == 0 or shares[left].sum() >= least / 2
        groups[left] = used if heavy else used - 1
    return groups
