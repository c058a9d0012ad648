"""Vectors of records as integers whose norm is bounded, whatever the record holds.

A record's vector is clipped to a public radius and written in whole steps, so that sums are
exact and one record's share of them has a norm of at most a public whole number. The bound is held
by the integers themselves: a record that rounding would take beyond it counts as zero.

Vectors, and what is taken off them or multiplied with them, are multiples of `GRID` (`gridded`), so
that sums of products are exact in double precision, whatever their order. A record's share is then
the same integers whoever else is there, which the sensitivity of a sum rests on.

A matrix of second moments is summed as the upper triangle of `q q'`, with the diagonal taken 29
times and what is beside it 41 times: 41^2 < 2 * 29^2, so its norm is at most `29 |q|^2`. Had both
the same weight, noise would hit what is beside the diagonal harder than its two places need.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "GRID",
    "gridded",
    "packed_bound",
    "packed_sum",
    "packed_width",
    "steps_of",
    "unpacked",
    "unpacked_std",
    "whole",
]

Array = NDArray[Any]

_DIAGONAL, _BESIDE = 29, 41
GRID = 2.0**-12
_MOST = 2.0**10


def gridded(values: Array) -> Array:
    """Returns values as the nearest multiples of `GRID`, at most 1,024; what is no number as 0."""
    finite = np.nan_to_num(np.asarray(values, dtype=np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    found: Array = np.rint(np.clip(finite, -_MOST, _MOST) / GRID) * GRID
    return found


def steps_of(bound: int, width: int) -> float:
    """Returns how many steps of a whole vector make one radius.

    Rounding to whole steps moves a vector of `width` coordinates by at most half the root of
    `width`; so much room is left below `bound`.
    """
    return bound - 0.5 * math.sqrt(width) - 1.0


def whole(vectors: Array, radius: float, bound: int) -> Array:
    """Clips vectors to a radius and writes them in whole steps.

    Args:
      vectors: (N, D) multiples of `GRID`, private; a row that is not finite counts as zero.
      radius: public, > 0.
      bound: of the result's norm, a whole number above the root of D.

    Returns:
      (N, D) float64 of whole numbers, each row's L2 norm at most `bound`.

    >>> whole(np.array([[3.0, 4.0], [np.nan, 0.0]]), 1.0, 1001).tolist()
    [[600.0, 799.0], [0.0, 0.0]]
    """
    values = np.asarray(vectors, dtype=np.float64)
    finite = np.isfinite(values).all(axis=1, keepdims=True)
    values = np.where(finite, values, 0.0)
    norms = np.sqrt(np.einsum("nd,nd->n", values, values))[:, None]
    values *= steps_of(bound, values.shape[1]) / np.maximum(norms, radius)
    np.rint(values, out=values)
    # Sums of whole squares below 2^53 are exact.
    squares = np.einsum("nd,nd->n", values, values)
    values[~(squares <= float(bound) ** 2)] = 0.0
    return values


def packed_width(width: int) -> int:
    """Returns the coordinates of a packed triangle."""
    return width * (width + 1) // 2


def packed_sum(vectors: Array) -> Array:
    """Returns the sum over records of their packed `q q'`, exactly.

    Args:
      vectors: (N, D) whole numbers, as of `whole`.

    Returns:
      (packed_width(D),) int64; a record adds at most `29 |q|^2` in L2 norm.
    """
    gram = vectors.T @ vectors
    rows, columns = np.triu_indices(gram.shape[0])
    weights = np.where(rows == columns, _DIAGONAL, _BESIDE)
    total: Array = np.rint(gram[rows, columns]).astype(np.int64) * weights
    return total


def packed_bound(norm: int) -> int:
    """Returns the largest norm of q for which a packed `q q'` has a norm of at most `norm`."""
    return math.isqrt(norm // _DIAGONAL)


def unpacked(triangle: Array, width: int) -> Array:
    """Returns the symmetric matrix (D, D) of a packed triangle, weights taken off."""
    rows, columns = np.triu_indices(width)
    values = triangle / np.where(rows == columns, float(_DIAGONAL), float(_BESIDE))
    matrix = np.zeros((width, width))
    matrix[rows, columns] = values
    matrix[columns, rows] = values
    return matrix


def unpacked_std(std: float) -> float:
    """Returns the noise beside the diagonal of `unpacked`; on it, it is about 1.4 times that."""
    return std / _BESIDE
