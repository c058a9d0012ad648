"""Precision, recall, density and coverage of synthetic images, by nearest neighbours in features.

As of Kynkäänniemi et al. (2019) and Naeem et al. (2020): a point's ball reaches to its k-th nearest
neighbour among the points of its own kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Neighbours", "mode_shares", "neighbours"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbours:
    """How synthetic points lie among real ones.

    Attributes:
      precision: share of synthetic points within some real point's ball.
      recall: share of real points within some synthetic point's ball.
      density: mean number of real balls that a synthetic point lies in, over k.
      coverage: share of real points whose ball holds a synthetic point.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def neighbours(real: Array, made: Array, k: int = 5) -> Neighbours:
    """Compares two sets of features.

    Args:
      real: (N, d).
      made: (M, d), synthetic.
      k: of the balls, below N and M.
    """
    of_real, of_made = _radii(real, k), _radii(made, k)
    between = _distances(real, made)
    inside = between < of_real[:, None]
    return Neighbours(
        precision=float(inside.any(axis=0).mean()),
        recall=float((between < of_made[None, :]).any(axis=1).mean()),
        density=float(inside.sum(axis=0).mean() / k),
        coverage=float((between.min(axis=1) < of_real).mean()),
    )


def mode_shares(told: Array, classes: int) -> Array:
    """Returns the share of each class among the labels that a judge gives, (classes,)."""
    return np.bincount(told, minlength=classes) / max(len(told), 1)


def _distances(one: Array, other: Array) -> Array:
    squares = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1) - 2.0 * one @ other.T
    return np.sqrt(np.maximum(squares, 0.0))


def _radii(points: Array, k: int) -> Array:
    # A point is its own nearest.
    return np.partition(_distances(points, points), k, axis=1)[:, k]
