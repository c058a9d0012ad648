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

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.server.images.algebra import edge_of

__all__ = [
    "Differences",
    "ShrunkShapes",
    "differences_of",
    "gathered",
    "shrunk_moves",
    "shrunk_shapes",
]

Array = NDArray[Any]

# Of the largest spread: no direction is without any, and noise of nothing would divide by zero.
_LEAST = 1e-6
_LEAST_NOISE = 1e-9
# Of what noise could show in a direction, what is given up if all of the spread is seen; and the
# power by which it falls with the share that is.
_PART, _POWER = 1.2, 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Differences:
    """Differences of symmetric matrices from a common one, in its directions.

    Attributes:
      directions: (d, d) of the common one, in columns.
      apart: (..., d, d) noisy differences.
      noise: (..., d, d) variance of the noise of each.
      expected: (d, d) variance of each without noise.
    """

    directions: Array
    apart: Array
    noise: Array
    expected: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class ShrunkShapes:
    """Symmetric matrices drawn towards a common one.

    Attributes:
      shapes: (..., d, d), not necessarily without negative eigenvalues.
      directions: (d, d) of the common one, in columns.
      variances: (..., d, d) what remains unknown of each entry in these directions.
    """

    shapes: Array
    directions: Array
    variances: Array


def differences_of(shapes: Array, common: Array, noise: Array) -> Differences:
    """Returns how symmetric matrices differ from a common one, and how much of it is noise.

    Args:
      shapes: (..., d, d), noisy.
      common: (d, d), without negative eigenvalues.
      noise: (...), standard deviation beside the diagonals of `shapes`; on them it is about
        1.4 times that (`fedloom.common.images.bounded`).
    """
    spreads, directions = np.linalg.eigh(common)
    width = len(spreads)
    spreads = np.maximum(spreads, max(_LEAST * float(spreads.max()), 1e-12))
    apart = directions.T @ (shapes - common) @ directions
    still = np.maximum(noise, _LEAST_NOISE * spreads.max())
    variance = still[..., None, None] ** 2 * (1.0 + np.eye(width))
    prior = np.outer(spreads, spreads)
    return Differences(
        directions=directions,
        apart=apart,
        noise=variance,
        expected=_size(apart, variance, prior) * prior,
    )


def shrunk_shapes(shapes: Array, common: Array, noise: Array) -> ShrunkShapes:
    """Returns symmetric matrices drawn towards a common one; see `differences_of`."""
    found = differences_of(shapes, common, noise)
    believed = found.expected / (found.expected + found.noise)
    directions = found.directions
    return ShrunkShapes(
        shapes=common + directions @ (found.apart * believed) @ directions.T,
        directions=directions,
        variances=believed * found.noise,
    )


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


def gathered(shape: Array, directions: Array, variances: Array, seen: float) -> Array:
    """Returns a covariance whose spread lies in fewer directions, its trace kept.

    Noise that remains spreads what images differ by over directions in which they do not, and a
    mean of shapes of groups is flatter than each of them. Every eigenvalue gives up a part of what
    the noise that remains in its direction could show, and the rest is scaled. Where noise hid a
    large part of the spread, images already lie in too few directions, and little is given up.

    Args:
      shape: (d, d).
      directions: (d, d) axes, in columns.
      variances: (d, d) of what is unknown of each entry of the shape in these axes.
      seen: share of the whole spread of images that lies in these directions, in [0, 1].
    """
    values, vectors = np.linalg.eigh(shape)
    values = np.maximum(values, 0.0)
    noise = np.sqrt(((directions.T @ vectors) ** 2).T @ variances.mean(axis=1))
    kept = np.maximum(values - _PART * seen**_POWER * edge_of(len(values), 1.0) * noise, 0.0)
    if kept.sum() <= 0.0:
        kept[-1] = 1.0
    found: Array = (vectors * (kept * (values.sum() / kept.sum()))) @ vectors.T
    return found
