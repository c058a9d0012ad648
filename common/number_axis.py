"""The public axis on which numbers of unknown size are counted: signed, and finer near zero.

Its cells depend on the kind of a column alone. Beside zero, each octave of magnitude, from a power
of two to the next, is cut into 64 cells of equal width, mirrored for negative numbers, so a cell
tells a number to within 1.6%. Integers reach to 2^53 and stand alone below 128; reals reach from
2^-30 (about 1e-9; smaller ones count as zero) to 2^50 (about 1e15). Datetimes are counted by
calendar month, from 1800 to 2199. Whatever lies beyond an end is counted in the last cell there.

Cells come in groups, which are counted apart, so that the noise of a sum over many cells need not
add up: an octave on its side of zero, zero itself, or a calendar year.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["CELLS_PER_OCTAVE", "NumberAxis", "number_axis"]

CELLS_PER_OCTAVE = 64
_MAX_INTEGER_EXPONENT = 53
_MIN_EXPONENT, _MAX_EXPONENT = -30, 50
_FIRST_MONTH, _LAST_MONTH = np.datetime64("1800-01", "M"), np.datetime64("2199-12", "M")

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class NumberAxis:
    """Cells of an axis, from left to right.

    Attributes:
      lows: Smallest value of each cell, (cells,), increasing. Days since 1970 for datetimes.
      highs: Largest value of each cell; of reals the border to the next, on which a positive value
        belongs to the next cell and a negative one to this.
      zero: Position of the cell of zero, or None where zero is a value like others.
      groups: Group of each cell, (cells,), from 0, rising by 0 or 1 from cell to cell.
    """

    lows: Floats
    highs: Floats
    zero: int | None
    groups: npt.NDArray[np.int32]

    @property
    def size(self) -> int:
        """The number of cells."""
        return len(self.lows)

    @property
    def num_groups(self) -> int:
        """The number of groups."""
        return int(self.groups[-1]) + 1

    def locate(self, values: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
        """Returns the cell of each finite value."""
        if self.zero is None:
            cells = np.searchsorted(self.lows, values, side="right") - 1
        else:
            magnitudes = self.lows[self.zero + 1 :]
            steps = np.searchsorted(magnitudes, np.abs(values), side="right")
            cells = self.zero + np.where(values < 0, -steps, steps)
        return np.clip(cells, 0, self.size - 1).astype(np.int32)


@lru_cache(maxsize=4)
def number_axis(kind: str) -> NumberAxis:
    """Returns the axis of integers, reals or datetimes.

    >>> axis = number_axis("integer")
    >>> cell = int(axis.locate(np.array([-100.0]))[0])
    >>> axis.lows[cell], axis.highs[cell]
    (np.float64(-100.0), np.float64(-100.0))
    """
    if kind == "datetime":
        months = np.arange(_FIRST_MONTH, _LAST_MONTH + 2)
        days = months.astype("datetime64[D]").astype(np.int64).astype(np.float64)
        years = np.arange(len(days) - 1, dtype=np.int32) // 12
        return NumberAxis(days[:-1], days[1:] - 1, None, years)
    if kind == "integer":
        first = int(np.log2(2 * CELLS_PER_OCTAVE))
        few = np.arange(1.0, 2.0**first)
        magnitudes = np.append(few, _octaves(first, _MAX_INTEGER_EXPONENT))
        width = 1.0
    else:
        magnitudes = _octaves(_MIN_EXPONENT, _MAX_EXPONENT)
        width = 0.0
    ends = np.append(magnitudes[1:], 2.0 * 2.0 ** np.floor(np.log2(magnitudes[-1]))) - width
    lows = np.concatenate([-ends[::-1], [0.0], magnitudes])
    highs = np.concatenate([-magnitudes[::-1], [0.0], ends])
    octaves = np.floor(np.log2(magnitudes)).astype(np.int32)
    octaves -= octaves[0] - 1
    steps = np.concatenate([-octaves[::-1], [0], octaves])
    return NumberAxis(lows, highs, len(magnitudes), (steps - steps[0]).astype(np.int32))


def _octaves(first: int, last: int) -> Floats:
    """Returns where the cells from 2^first to 2^last begin; every number is exact."""
    steps = 1.0 + np.arange(CELLS_PER_OCTAVE) / CELLS_PER_OCTAVE
    powers = 2.0 ** np.arange(first, last)
    return np.asarray(powers[:, None] * steps, dtype=np.float64).reshape(-1)
