"""Counts of a public table in the layout of a study's statistics: what a prior of a tree is.

They are exact, and cost nothing: a public table holds none of the records that a study protects.
The coordinator counts the table on the groups that the study's own noisy answers chose, so that a
release can hold the counts instead of the rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from fedloom.common.arrays import read_header_and_arrays
from fedloom.common.column_marginals import ColumnMarginals
from fedloom.common.encoding import Encoding
from fedloom.common.files import write_whole
from fedloom.common.marginals import TwoWayMarginals
from fedloom.common.three_way_marginals import ThreeWayMarginals

__all__ = ["PublicCounts", "PublicRecords"]

Array = NDArray[Any]

_MAX_BYTES = 1 << 32


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PublicCounts:
    """Exact counts of a public table.

    Attributes:
      columns: a `ColumnMarginals` sum.
      pairs: a `TwoWayMarginals` sum on the study's groups; None as long as there are none.
      triples: a `ThreeWayMarginals` sum on the study's coarse groups; None as long as there are
        none.
    """

    columns: Array
    pairs: Array | None = None
    triples: Array | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PublicRecords:
    """The rows of a public table as codes.

    Attributes:
      features: (N, m) codes, each within its block.
      classes: (N,) class of each row.
    """

    features: Array
    classes: Array

    def save(self, path: Path) -> None:
        """Writes the rows to a file."""
        arrays = {"features": self.features, "classes": self.classes}
        contiguous = {name: np.ascontiguousarray(a, dtype=np.int32) for name, a in arrays.items()}
        write_whole(path, safetensors.numpy.save(contiguous))

    @classmethod
    def load(cls, path: Path) -> PublicRecords:
        """Reads what `save` wrote.

        Raises:
          ReleaseError: the file is damaged.
        """
        _, arrays = read_header_and_arrays(path, _MAX_BYTES)
        return cls(features=arrays["features"], classes=arrays["classes"])

    def counted(
        self, encoding: Encoding, *, groups: Array | None = None, coarse: Array | None = None
    ) -> PublicCounts:
        """Counts the rows.

        Args:
          encoding: the public encoding.
          groups: (D,) of pairs, as the study counted them.
          coarse: (D,) of triples.
        """
        rows = self.features, self.classes
        return PublicCounts(
            columns=ColumnMarginals(encoding).sum(*rows),
            pairs=None if groups is None else TwoWayMarginals(encoding, groups).sum(*rows),
            triples=None if coarse is None else ThreeWayMarginals(encoding, coarse).sum(*rows),
        )
