"""What noise leaves of differences of classes, and of moves of groups. Post-processing.

A covariance's difference from a common one is believed as far as it stands out of noise, entry by
entry in the common one's directions: entry (i, j) of a true difference is taken as normal with the
variance `t l_i l_j`, l being the spread in each direction, as for two samples' covariances; the
posterior mean under the known noise is what remains (empirical Bayes; James and Stein 1961, Efron
and Morris 1973). One t for all is found from the noisy moments themselves.
So strong directions keep what is theirs, and weak ones, where noise has the same size but truth is
small, keep the common shape. Moves of centres are treated alike, with the variance `t l_i`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.server.images.algebra import edge_of

__all__ = ["gathered", "shrunk_moves", "shrunk_shapes"]

Array = NDArray[Any]

# Of the largest spread: no direction is without any, and noise of nothing would divide by zero.
_LEAST = 1e-6
_LEAST_NOISE = 1e-9
# Of what noise alone could show, taken from every eigenvalue.
_PART = 0.6


def shrunk_shapes(shapes: Array, common: Array, noise: Array) -> Array:
    """Returns symmetric matrices drawn towards a common one.

    Args:
      shapes: (..., d, d), noisy.
      common: (d, d), without negative eigenvalues.
      noise: (...), standard deviation beside the diagonals of `shapes`; on them it is about
        1.4 times that (`fedloom.common.images.bounded`).

    Returns:
      (..., d, d), not necessarily without negative eigenvalues.
    """
    spreads, directions = np.linalg.eigh(common)
    width = len(spreads)
    spreads = np.maximum(spreads, max(_LEAST * float(spreads.max()), 1e-12))
    apart = directions.T @ (shapes - common) @ directions
    still = np.maximum(noise, _LEAST_NOISE * spreads.max())
    variance = still[..., None, None] ** 2 * (1.0 + np.eye(width))
    prior = np.outer(spreads, spreads)
    size = _size(apart, variance, prior)
    kept = apart * (size * prior / (size * prior + variance))
    found: Array = common + directions @ kept @ directions.T
    return found


def shrunk_moves(moves: Array, spreads: Array, noise: Array) -> Array:
    """Returns moves of centres drawn towards none.

    Args:
      moves: (..., d), noisy.
      spreads: (d,), > 0, in the same directions.
      noise: (...), standard deviation of each number.
    """
    still = np.maximum(noise, _LEAST_NOISE * np.sqrt(spreads.max()))
    variance = np.broadcast_to(still[..., None] ** 2, moves.shape)
    size = _size(moves, variance, spreads)
    found: Array = moves * (size * spreads / (size * spreads + variance))
    return found


def _size(apart: Array, variance: Array, prior: Array) -> float:
    """Returns t, by the moments of all entries, each counting as much as its noise allows."""
    weight = prior / variance**2
    return max(float((weight * (apart**2 - variance)).sum() / (weight * prior).sum()), 0.0)


def gathered(shape: Array, noise: float) -> Array:
    """Returns a covariance whose spread lies in fewer directions, its trace kept.

    Noise that remains spreads what images differ by over directions in which they do not. Every
    eigenvalue gives up a part of what noise alone could show, and the rest is scaled.

    Args:
      shape: (d, d).
      noise: standard deviation beside the diagonal of what it was made from.
    """
    values, vectors = np.linalg.eigh(shape)
    values = np.maximum(values, 0.0)
    kept = np.maximum(values - _PART * edge_of(len(values), noise), 0.0)
    if kept.sum() <= 0.0:
        kept[-1] = 1.0
    found: Array = (vectors * (kept * (values.sum() / kept.sum()))) @ vectors.T
    return found
