"""How often each group of codes of a column occurs within each class: a `tree`'s classes.

Pairs tell the same by their margins, but a margin adds up the noise of as many cells as the other
column has groups, and a table of many columns has many pairs to share the budget among. What the
classes differ in, one column at a time, is what most predictions rest on, so it is counted by
itself. A record adds one to each of its m columns, whatever the groups: sensitivity and noise are
fixed beforehand, and groups may follow earlier answers.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.common.encoding import Encoding
from fedloom.common.errors import ConfigError
from fedloom.common.marginals import NoisyMarginals, check_numbered, group_sizes

__all__ = ["ClassColumnMarginals", "NoisyClassColumns", "check_class_groups"]

Array = NDArray[Any]


class ClassColumnMarginals:
    """How often each group of codes of each column occurs within each class.

    Layout, for each class: the counts of all groups of all blocks, one block after the other.
    """

    kind = "class-columns"

    def __init__(self, encoding: Encoding, groups: Array) -> None:
        """Takes the layout from a public encoding and the group of each cell, (D,)."""
        self.encoding, self.groups = encoding, groups
        self.sizes = group_sizes(encoding, groups)
        self.length = encoding.num_classes * sum(self.sizes)
        self.l2_norm = math.sqrt(len(self.sizes))

    def sum(self, feature_codes: Array, classes: Array) -> Array:
        """Returns the exact counts of a table, (length,) int64.

        Args:
          feature_codes: (N, m) codes, each within its block.
          classes: (N,) class of each record.
        """
        num_classes, parts = self.encoding.num_classes, []
        for position, (block, size) in enumerate(
            zip(self.encoding.features, self.sizes, strict=True)
        ):
            cells = classes.astype(np.int64) * size
            cells += self.groups[block.start + feature_codes[:, position]]
            counts = np.bincount(cells, minlength=num_classes * size)
            parts.append(counts.reshape(num_classes, size))
        return np.concatenate(parts, axis=1).reshape(-1).astype(np.int64)

    def blocks(self, vector: Array) -> list[Array]:
        """Returns the counts (C, G) of each block's groups within classes: views."""
        rows = vector.reshape(self.encoding.num_classes, -1)
        ends = itertools.accumulate(self.sizes, initial=0)
        return [rows[:, start:end] for start, end in itertools.pairwise(ends)]


@dataclass(frozen=True, kw_only=True, eq=False)
class NoisyClassColumns:
    """The noisy `ClassColumnMarginals` sum over sites, on the groups of the pairs.

    Attributes:
      counts: of each block, the noisy counts (C, G) of its groups within classes.
      std: standard deviation of their noise.
    """

    counts: tuple[Array, ...]
    std: float

    def check(self, beside: NoisyMarginals) -> None:
        """Refuses counts that do not lie on the groups of the pairs that they stand beside.

        Raises:
          ConfigError: says what is wrong.
        """
        groups, classes = beside.groups, beside.encoding.num_classes
        sizes = () if groups is None else group_sizes(beside.encoding, groups)
        shapes = [(classes, size) for size in sizes]
        if beside.by_class or [part.shape for part in self.counts] != shapes:
            raise ConfigError(
                "columns within classes are counted beside columns over all classes, on the groups "
                f"of the pairs; their counts must have the shapes {shapes}"
            )
        if not all(np.isfinite(part).all() for part in self.counts):
            raise ConfigError("counts of columns within classes must be finite numbers")

    def for_reconciling(self) -> dict[str, Any]:
        """Returns what `reconcile_columns` takes of them."""
        return {"of_classes": self.counts, "of_classes_std": self.std}


def check_class_groups(encoding: Encoding, groups: Array, most_cells: int) -> None:
    """Refuses an array that does not say for each cell to which group it belongs.

    Args:
      encoding: the public encoding.
      groups: (D,) int32; within each block the numbers 0 to G - 1, each at least once.
      most_cells: how many groups all columns of all classes may have together.

    Raises:
      ConfigError: says what is wrong.
    """
    check_numbered(encoding, groups)
    cells = encoding.num_classes * sum(group_sizes(encoding, groups))
    if cells > most_cells:
        raise ConfigError(
            f"the groups make {cells:,} counts within classes, at most {most_cells:,} are allowed; "
            "join more cells"
        )
