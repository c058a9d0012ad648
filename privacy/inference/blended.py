"""What several noisy tables tell together: linear, unbiased, of exactly known noise.

A column is counted several times: in the look, at several widths of a fine axis, within classes on
groups of cells, and as a margin of every pair. So is a pair: finely in its own table, coarsely in
every triple that holds it. Each of these counts is a sum of the numbers of records in segments, the
cells that no table tells apart, plus independent noise of known variance. The best linear unbiased
estimate of any weighted sum over segments (generalised least squares; for histograms at several
widths, Hay et al. 2010, arXiv:0904.0942) is a linear form of the counts, so its noise is known
exactly, whatever the records are.

Nothing is smoothed and nothing is cut at zero: a spike at a bound that lies below the noise, and a
thin tail, count in full on average, and what noise leaves open about them is in the error. Only how
records lie within a segment is taken from a shape.

Guarantee: post-processing of noisy counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

__all__ = ["BlendedCounts"]

Array = NDArray[Any]

# Weak pull towards the shape, against the precision of the least precise table: it decides only
# what the counts leave open, and keeps the equations regular.
_PULL = 1e-8
# Counts are whole numbers; noise below this is none.
_LEAST_VARIANCE = 1e-6
_NOTHING = 1e-9
# More segments than this are read from the first table alone, which tells each of them.
_MOST_SEGMENTS = 1500


class BlendedCounts:
    """The same cells as several tables count them."""

    def __init__(
        self, places: Mapping[int, Array], counts: Mapping[int, tuple[Array, Array]], shape: Array
    ) -> None:
        """Solves for the segments.

        Args:
          places: by number of the table, where each cell lies in it, (cells,).
          counts: by number of the table, the noisy counts at its places, and their variances; the
            first table is the finest.
          shape: number of records in each cell that is likely, (cells,), none negative.
        """
        used = list(counts)
        segments, inverse = _segments(places, used)
        if len(segments) > _MOST_SEGMENTS:
            used = used[:1]
            segments, inverse = _segments(places, used)
        self._segment = inverse
        self._shape: Array = np.asarray(np.bincount(inverse, shape))
        likely = shape + _NOTHING
        self._within = likely / np.bincount(inverse, likely)[inverse]
        self._at = {number: segments[:, axis] for axis, number in enumerate(used)}
        self._precisions: dict[int, Array] = {}
        self._apart: dict[int, Array] = {}
        for number in used:
            found, variances = counts[number]
            self._precisions[number] = 1.0 / np.maximum(variances, _LEAST_VARIANCE)
            told = np.bincount(self._at[number], self._shape, minlength=len(found))
            self._apart[number] = found - told
        self._factor = self._factored()
        self._ones = self._solve(np.ones(len(segments)))

    def estimate(self, weights: Array) -> tuple[float, float, dict[int, Array]]:
        """Returns the sum of a weight of each cell over all records.

        It is split into a plain number times the number of records, which is known better than
        from these counts, and a rest whose noise is then least.

        Args:
          weights: of the cells, (cells,).

        Returns:
          The number, the estimate of the rest, and by number of the table how the rest moves with
          each count at its places.
        """
        summed: Array = np.bincount(self._segment, weights * self._within)
        middle = float(summed @ self._ones / self._ones.sum())
        summed = summed - middle
        solved = self._solve(summed)
        value = float(summed @ self._shape)
        influences = {}
        for number, precisions in self._precisions.items():
            moved = np.bincount(self._at[number], solved, minlength=len(precisions)) * precisions
            influences[number] = moved
            value += float(moved @ self._apart[number])
        return middle, value, influences

    def _factored(self) -> Any:
        """Returns the precisions of the segments, (segments,), or a factor of their matrix."""
        least = min(float(precisions.max()) for precisions in self._precisions.values())
        own = np.full(len(self._shape), _PULL * least)
        for number, precisions in self._precisions.items():
            own += precisions[self._at[number]]
        if len(self._precisions) == 1:
            return own
        whole = np.diag(own)
        for number, precisions in self._precisions.items():
            at = self._at[number]
            whole += np.where((at[:, None] == at) & ~np.eye(len(at), dtype=bool), precisions[at], 0)
        return scipy.linalg.cho_factor(whole)

    def _solve(self, right: Array) -> Array:
        if isinstance(self._factor, np.ndarray):
            return np.asarray(right / self._factor)
        return np.asarray(scipy.linalg.cho_solve(self._factor, right))


def _segments(places: Mapping[int, Array], used: Sequence[int]) -> tuple[Array, Array]:
    """Returns the places of each segment, (segments, tables), and the segment of each cell."""
    stacked = np.stack([places[number] for number in used], axis=1)
    segments, inverse = np.unique(stacked, axis=0, return_inverse=True)
    return segments, inverse.ravel()
