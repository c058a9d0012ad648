"""What a public table says of single columns, and how far it may be off.

Of N records a cell is expected to hold e = N times its public share. How far the true count is from
that has the variance c e: c is 1 for a sample of the very population of which the public table
knows all, 1 + N / n if the public table has n rows of it, and more for other populations. c is read
from noisy answers (`fedloom.server.learners.public_prior`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.common.encoding import Block

__all__ = ["ColumnPrior", "Expected"]

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Expected:
    """What is expected of a block.

    Attributes:
      shares: (size,) positive; they sum to 1.
      misfit: c, above 0.
    """

    shares: Array
    misfit: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ColumnPrior:
    """What is expected of all columns.

    Attributes:
      shares: (D,) of each block's codes over all classes.
      misfit: by the name of each column that the public table predicts, its c.
      within: (C, D) of each block's groups within each class, at each of the group's codes; None
        as long as there are no groups.
      misfit_within: the same within classes.
      pair_std: (C, T) standard deviation of what each pair says beside its single columns, where
        the public table predicts that too; else None.
      triple_std: (C, T) of each triple, likewise.
    """

    shares: Array
    misfit: dict[str, float]
    within: Array | None = None
    misfit_within: dict[str, float]
    pair_std: Array | None = None
    triple_std: Array | None = None

    def of(self, block: Block) -> Expected | None:
        """Returns what is expected of a feature's codes; None where nothing is."""
        if block.name not in self.misfit:
            return None
        span = slice(block.start, block.start + block.size)
        return Expected(shares=self.shares[span], misfit=self.misfit[block.name])

    def of_groups(self, block: Block, label: int, groups: Array) -> Expected | None:
        """Returns what is expected of a feature's groups (G,) in a class; None where nothing is."""
        if self.within is None or block.name not in self.misfit_within:
            return None
        span = slice(block.start, block.start + block.size)
        first = np.unique(groups, return_index=True)[1]
        shares = self.within[label, span][first]
        return Expected(shares=shares / shares.sum(), misfit=self.misfit_within[block.name])
