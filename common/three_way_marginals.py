"""How often each triple of coarse groups of three columns occurs within each class.

Pairs are blind to what only three columns say together, such as a label that is the parity of
three others. A record adds one to each of the m (m - 1) (m - 2) / 6 triples of columns, whatever
the groups: so sensitivity and noise are fixed beforehand, and groups may follow earlier answers.
Few groups a column keep a cell's count above its noise.
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
from fedloom.common.marginals import check_numbered, group_sizes
from fedloom.common.models.cell_tables import CellTables

__all__ = ["NoisyTriples", "ThreeWayMarginals", "check_coarse_groups"]

Array = NDArray[Any]


class ThreeWayMarginals:
    """How often each triple of groups of codes of three columns occurs within each class.

    Layout, for each class: for each triple of blocks a < b < c, in the order (0, 1, 2), (0, 1, 3),
    ..., their table with the groups of c running fastest.
    """

    kind = "three-way"

    def __init__(self, encoding: Encoding, groups: Array) -> None:
        """Takes the layout from a public encoding and the group of each cell, (D,)."""
        self.encoding, self.groups = encoding, groups
        sizes = group_sizes(encoding, groups)
        self.tables = CellTables(sizes, tuple(itertools.combinations(range(len(sizes)), 3)))
        self.length = encoding.num_classes * self.tables.length
        self.l2_norm = math.sqrt(math.comb(len(sizes), 3))

    def sum(self, feature_codes: Array, classes: Array) -> Array:
        """Returns the exact counts of a table, (length,) int64.

        Args:
          feature_codes: (N, m) codes, each within its block.
          classes: (N,) class of each record.
        """
        num_classes = self.encoding.num_classes
        total = np.zeros((num_classes, self.tables.length), dtype=np.int64)
        codes = np.stack(
            [
                self.groups[block.start + feature_codes[:, a]].astype(np.int64)
                for a, block in enumerate(self.encoding.features)
            ]
        )
        for number, span in enumerate(self.tables.spans):
            size = span.stop - span.start
            cells = classes.astype(np.int64) * size + self.tables.cells(number, codes)
            total[:, span] = np.bincount(cells, minlength=num_classes * size).reshape(-1, size)
        return total.reshape(-1)


@dataclass(frozen=True, kw_only=True, eq=False)
class NoisyTriples:
    """The noisy `ThreeWayMarginals` sum over sites.

    Attributes:
      groups: (D,) int32 coarse group of each cell.
      counts: (C, length) noisy counts, class by class.
      std: standard deviation of their noise.
    """

    groups: Array
    counts: Array
    std: float


def check_coarse_groups(encoding: Encoding, groups: Array, most_cells: int) -> None:
    """Refuses an array that does not say for each cell to which coarse group it belongs.

    Args:
      encoding: the public encoding.
      groups: (D,) int32; within each block the numbers 0 to G - 1, each at least once.
      most_cells: how many cells all tables of all classes may have together.

    Raises:
      ConfigError: says what is wrong.
    """
    check_numbered(encoding, groups)
    # Newton's identity for the third elementary symmetric sum: no table is laid out before it fits.
    sizes = group_sizes(encoding, groups)
    first, second, third = (sum(size**power for size in sizes) for power in (1, 2, 3))
    cells = encoding.num_classes * (first**3 - 3 * first * second + 2 * third) // 6
    if cells > most_cells:
        raise ConfigError(
            f"the groups make {cells:,} cells of triples, at most {most_cells:,} are allowed; join "
            "more cells"
        )
