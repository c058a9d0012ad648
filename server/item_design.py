"""Which items of sets are counted with all other columns: those that stand out of the first counts.

An item is called frequent if its noisy count weighs three standard deviations of its noise, at most
`MOST_FREQUENT` of each set, the heaviest first. If their tables do not fit into the plan's memory,
the lightest are left out. All of it is deterministic post-processing; a record adds the same at
the most whatever comes out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.common.encoding import Encoding
from fedloom.common.marginals import NoisyMarginals, group_sizes, groups_of_one
from fedloom.common.set_marginals import MOST_FREQUENT, item_pair_cells

__all__ = ["choose_items", "frequent_items"]

Groups = NDArray[np.int32]

# A frequent item weighs so many standard deviations of the noise of its count.
_STANDS_OUT = 3.0


def choose_items(statistics: NoisyMarginals, *, most_cells: int) -> tuple[Groups, Groups]:
    """Returns the groups of the columns (D,), and 1 for frequent items, else 0, (items,).

    Args:
      statistics: the columns' and the items' noisy counts, and the pairs with their groups where
        there are pairs.
      most_cells: how many cells all tables of all classes may have together.
    """
    encoding, noisy = statistics.encoding, statistics.items
    assert noisy is not None
    groups = groups_of_one(encoding) if statistics.groups is None else statistics.groups
    chosen: list[int] = []
    for block in encoding.sets:
        counts = noisy.counts[block.start : block.start + block.size]
        heaviest = np.argsort(-counts, kind="stable")[:MOST_FREQUENT]
        chosen += [
            block.start + int(item)
            for item in heaviest
            if counts[item] > max(_STANDS_OUT * noisy.std, 0.0)
        ]
    chosen.sort(key=lambda item: -noisy.counts[item])
    sizes = group_sizes(encoding, groups)
    while chosen and item_pair_cells(encoding, sizes, len(chosen)) > most_cells:
        chosen.pop()
    frequent = np.zeros(encoding.num_items, dtype=np.int32)
    frequent[chosen] = 1
    return np.asarray(groups, dtype=np.int32), frequent


def frequent_items(encoding: Encoding, frequent: NDArray[Any]) -> dict[str, list[str]]:
    """Returns the names of the frequent items of each set column."""
    return {
        block.name: [
            value
            for value, chosen in zip(block.values, frequent[block.start :], strict=False)
            if chosen
        ]
        for block in encoding.sets
    }
