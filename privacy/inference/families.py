"""Families of regressions: how the mean of a response follows from its linear predictor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["FAMILIES", "Family"]

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A family of regressions.

    Attributes:
      name: as people ask for it.
      scale: what a coefficient is.
      ratio: what its exponential is, or None.
      mean: of the response, from the linear predictor.
      slope: of `mean`.
      start: linear predictor of a mean.
    """

    name: str
    scale: str
    ratio: str | None
    mean: Callable[[Array], Array]
    slope: Callable[[Array], Array]
    start: Callable[[float], float]


def _logistic(eta: Array) -> Array:
    means: Array = 1.0 / (1.0 + np.exp(-np.clip(eta, -500.0, 500.0)))
    return means


def _exponential(eta: Array) -> Array:
    rates: Array = np.exp(np.minimum(eta, 50.0))
    return rates


FAMILIES = {
    family.name: family
    for family in (
        Family(
            name="linear",
            scale="difference of the mean",
            ratio=None,
            mean=lambda eta: eta,
            slope=np.ones_like,
            start=lambda mean: mean,
        ),
        Family(
            name="logistic",
            scale="log odds",
            ratio="odds ratio",
            mean=_logistic,
            slope=lambda eta: _logistic(eta) * (1.0 - _logistic(eta)),
            start=lambda mean: float(np.log(mean / (1.0 - mean))),
        ),
        Family(
            name="poisson",
            scale="log rate",
            ratio="rate ratio",
            mean=_exponential,
            slope=_exponential,
            start=lambda mean: float(np.log(mean)),
        ),
    )
}
