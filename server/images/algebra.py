"""Symmetric matrices seen through known noise: what stands out of it, and what may be a spread.

The eigenvalues of a symmetric matrix of independent noise of standard deviation s beside its
diagonal fill the interval from -2 s sqrt(d) to 2 s sqrt(d) (Wigner 1955). What lies outside is
signal; an eigenvalue l that stands out is too large by about d s^2 / l, and is taken back (Benaych-
Georges and Nadakuditi 2011).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "above_noise",
    "edge_of",
    "joined",
    "k_means",
    "nonnegative",
    "root_of",
    "taken_back",
]

Array = NDArray[Any]

# The largest eigenvalue of noise lies a little beyond the edge now and then.
_MARGIN = 1.05


def edge_of(width: int, std: float) -> float:
    """Returns how large an eigenvalue of noise alone may be."""
    return _MARGIN * 2.0 * std * math.sqrt(width)


def taken_back(values: Array, width: int, std: float) -> Array:
    """Returns eigenvalues above the edge as they are without the noise's push."""
    room = np.maximum(values**2 - 4.0 * width * std**2, 0.0)
    found: Array = (values + np.sign(values) * np.sqrt(room)) / 2.0
    return found


def above_noise(matrix: Array, std: float) -> Array:
    """Returns what of a symmetric matrix (d, d) stands out of noise of either sign."""
    values, vectors = np.linalg.eigh(matrix)
    width = len(values)
    kept = np.where(np.abs(values) > edge_of(width, std), taken_back(values, width, std), 0.0)
    found: Array = (vectors * kept) @ vectors.T
    return found


def joined(first: Array, first_std: float, second: Array, second_std: float) -> tuple[Array, float]:
    """Joins two noisy looks at one array by inverse variance.

    Args:
      first: of any shape.
      first_std: of its noise, not negative.
      second: of the same shape.
      second_std: of its noise, not negative.

    Returns:
      The array, and the standard deviation of the noise that is left.
    """
    both = first_std**2 + second_std**2
    if both == 0.0:
        return first, 0.0
    found: Array = (first * second_std**2 + second * first_std**2) / both
    return found, first_std * second_std / math.sqrt(both)


def nonnegative(matrix: Array) -> Array:
    """Returns a symmetric matrix without negative eigenvalues, its trace kept if that is positive.

    Cutting negative eigenvalues alone would add what noise took away and keep what it added.
    """
    values, vectors = np.linalg.eigh(matrix)
    trace, kept = float(values.sum()), np.maximum(values, 0.0)
    if trace > 0.0:
        # Take from all alike until the trace is right: the nearest such matrix.
        ordered = np.sort(kept)[::-1]
        excess = (np.cumsum(ordered) - trace) / np.arange(1, len(ordered) + 1)
        cut = excess[np.flatnonzero(ordered > excess)[-1]]
        kept = np.maximum(kept - max(cut, 0.0), 0.0)
    found: Array = (vectors * kept) @ vectors.T
    return found


def root_of(matrix: Array) -> Array:
    """Returns R with R R' the symmetric matrix, negative eigenvalues as zero."""
    values, vectors = np.linalg.eigh(matrix)
    found: Array = vectors * np.sqrt(np.maximum(values, 0.0))
    return found


def k_means(points: Array, count: int, rng: np.random.Generator, rounds: int = 12) -> Array:
    """Returns centres (count, d) of points (N, d) by Lloyd's algorithm; for public points alone."""
    centres = points[rng.choice(len(points), count, replace=False)].copy()
    for _ in range(rounds):
        far = (centres**2).sum(axis=1) - 2.0 * (points @ centres.T)
        nearest = far.argmin(axis=1)
        for number in range(count):
            chosen = nearest == number
            if chosen.any():
                centres[number] = points[chosen].mean(axis=0)
    return centres
