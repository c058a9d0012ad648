"""Groups of images as factor analysers, and what images seen in part tell of their factors.

A group is a mean, some directions in which its images vary, and for each value the variance that
is left (mixtures of factor analysers, Ghahramani and Hinton 1996, CRG-TR-96-1; here in closed form,
from singular vectors). An image is mean + directions^T z + noise with z ~ N(0, I) and independent
noise, so given what is seen z is Gaussian, and so is what is not seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["FactorGroup", "Posterior", "View", "factor_group", "posterior_of"]

Array = NDArray[Any]

# Directions of a group at most.
_DIRECTIONS = 20
# No value is known better than this part of the range: a real image is not quite as any drawn one.
_LEAST_SPREAD = 0.1


@dataclass(frozen=True, eq=False)
class FactorGroup:
    """How some images of a class vary; images are flat, levels 0 to 1.

    Attributes:
      label: the class.
      log_share: logarithm of the group's share of all images.
      mean: (P,).
      directions: (R, P), each as long as one standard deviation.
      rest: (P,) variance of each value beside the directions.
    """

    label: int
    log_share: float
    mean: Array
    directions: Array
    rest: Array


@dataclass(frozen=True, eq=False)
class View:
    """How images are seen: a function of flat images, and what it does to independent noise."""

    seen: Callable[[Array], Array]
    noise: Callable[[Array], Array]


@dataclass(frozen=True, eq=False)
class Posterior:
    """What is known of the factors of images, if they are of one group.

    Attributes:
      log_chance: (n,) of the group and what is seen, up to a constant of the image.
      mean: (n, R) of the factors.
      root: (n, R, R), the Cholesky factor of their precision.
    """

    log_chance: Array
    mean: Array
    root: Array

    def drawn(self, group: FactorGroup, rows: Array, rng: np.random.Generator | None) -> Array:
        """Returns the mean of images, or a draw."""
        factors = self.mean[rows]
        if rng is not None:
            white = rng.normal(size=(*factors.shape, 1))
            factors = factors + np.linalg.solve(self.root[rows].transpose(0, 2, 1), white)[..., 0]
        made: Array = group.mean + factors @ group.directions
        if rng is not None:
            spread = np.sqrt(np.maximum(group.rest - _LEAST_SPREAD**2, 0.0))
            made = made + spread * rng.normal(size=made.shape)
        return made


def posterior_of(group: FactorGroup, view: View, levels: Array, weights: Array) -> Posterior:
    """Returns what images tell of the factors of a group.

    Args:
      group: that they are taken to be of.
      view: how they are seen.
      levels: (n, Q) what is seen, 0 to 1.
      weights: (n, Q), 1 where a value is known and 0 where not.
    """
    directions, rest = view.seen(group.directions), view.noise(group.rest)
    rank = len(directions)
    apart = levels - view.seen(group.mean[None])[0]
    sure = weights / rest
    products = (directions[:, None] * directions[None]).reshape(rank * rank, -1)
    precision = (sure @ products.T).reshape(-1, rank, rank) + np.eye(rank)
    pull = (sure * apart) @ directions.T
    root = np.linalg.cholesky(precision)
    mean = np.linalg.solve(precision, pull[..., None])[..., 0]
    log_precision = 2.0 * np.log(np.diagonal(root, axis1=1, axis2=2)).sum(axis=1)
    misfit = (sure * apart**2).sum(axis=1) - (pull * mean).sum(axis=1)
    log_noise = weights @ np.log(rest)
    return Posterior(
        log_chance=group.log_share - 0.5 * (misfit + log_precision + log_noise),
        mean=mean,
        root=root,
    )


def factor_group(label: int, share: float, flat: Array) -> FactorGroup:
    """Returns the group of some images.

    Args:
      label: their class.
      share: of the group among all images.
      flat: (n, P) the images, levels 0 to 1.
    """
    mean = flat.mean(axis=0, dtype=np.float64)
    _, lengths, waves = np.linalg.svd(flat - mean, full_matrices=False)
    rank = min(_DIRECTIONS, len(flat) // 2)
    directions = waves[:rank] * lengths[:rank, None] / math.sqrt(len(flat))
    rest = np.maximum(flat.var(axis=0, dtype=np.float64) - (directions**2).sum(axis=0), 0.0)
    return FactorGroup(
        label=label,
        log_share=math.log(share),
        mean=mean,
        directions=directions.astype(np.float64),
        rest=rest + _LEAST_SPREAD**2,
    )
