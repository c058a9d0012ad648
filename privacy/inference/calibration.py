"""Regressions that need the joint distribution of covariates: rows calibrated to noisy pairs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.common.errors import NotMeasuredError
from fedloom.privacy.inference.families import Family
from fedloom.privacy.inference.moments import Moments
from fedloom.privacy.inference.sums import Sum, Sums, combined

__all__ = ["Calibrated"]

Array = NDArray[Any]

_NEWTON_STEPS = 60
_TOLERANCE = 1e-10


class Calibrated:
    """The equations of a family that is not linear, on weighted rows of the generator.

    The weights are linear in the products of covariates (the linear calibration of survey samples,
    Deville and Särndal 1992), and such that the rows have the second moments of the noisy tables.
    Some may be negative: they stand for no distribution, but for what pairs tell of any sum.
    """

    def __init__(self, sums: Sums, moments: Moments, family: Family) -> None:
        """Weights the rows.

        Raises:
          NotMeasuredError: no row has a value in every covariate.
        """
        self._moments, self._family = moments, family
        codes = sums.rows.codes
        complete = np.ones(sums.rows.size, dtype=bool)
        for term in moments.terms:
            complete &= term.observed[codes[term.column]] > 0
        if not complete.any():
            raise NotMeasuredError("no row of the generator has a value in every covariate")
        columns = [
            (term.values[codes[term.column]] - center)[complete]
            for term, center in zip(moments.terms, moments.centers, strict=True)
        ]
        self._z = np.stack([np.ones(int(complete.sum())), *columns], axis=1)
        self._keys = list(moments.gram_sums)
        products = np.stack([self._z[:, k] * self._z[:, j] for k, j in self._keys], axis=1)
        means = products.mean(axis=0)
        scales = products.std(axis=0)
        self._used = scales > 1e-12
        self._scales = scales[self._used]
        self._products = (products[:, self._used] - means[self._used]) / self._scales
        wanted = np.array([moments.gram[key] for key in self._keys]) - means
        inverse = np.linalg.pinv(
            self._products.T @ self._products / len(self._z), rcond=1e-8, hermitian=True
        )
        self._inverse = inverse
        self._weights = 1.0 + self._products @ (inverse @ (wanted[self._used] / self._scales))

    def solve(self) -> tuple[Array, list[Sum], Array, Array]:
        """Returns coefficients, the sums whose errors move the equations, slopes, further errors.

        Raises:
          NotMeasuredError: the equations have no solution, as where noise outweighs what is there.
        """
        theta = np.zeros(self._z.shape[1])
        theta[0] = self._family.start(self._moments.center)
        error = self._equations(theta)
        for _ in range(_NEWTON_STEPS):
            slopes = self._slopes(theta)
            try:
                step = np.linalg.solve(slopes, error)
            except np.linalg.LinAlgError:
                break
            size = 1.0
            while size > 1e-6:
                tried = theta - size * step
                tried_error = self._equations(tried)
                if np.linalg.norm(tried_error) < np.linalg.norm(error):
                    break
                size /= 2.0
            else:
                break
            theta, error = tried, tried_error
            if np.abs(size * step * self._z.std(axis=0).clip(1e-12)).max() < _TOLERANCE:
                break
        scale = np.abs(self._moments.cross).max() + 1e-6
        if not np.abs(error).max() < 1e-6 * max(scale, 1e-3):
            raise NotMeasuredError(
                "the noisy sums fit no such regression (a group may have no or only positive "
                "responses); name fewer covariates, or join values"
            )
        return theta, *self._errors(theta)

    def _equations(self, theta: Array) -> Array:
        means = self._family.mean(self._z @ theta) - self._moments.center
        found: Array = (self._z * (self._weights * means)[:, None]).mean(axis=0)
        return found - self._moments.cross

    def _slopes(self, theta: Array) -> Array:
        slopes = self._family.slope(self._z @ theta) * self._weights
        found: Array = (self._z * slopes[:, None]).T @ self._z / len(self._z)
        return found

    def _errors(self, theta: Array) -> tuple[list[Sum], Array, Array]:
        means = self._family.mean(self._z @ theta) - self._moments.center
        wanted = self._z * means[:, None]
        centred = wanted - wanted.mean(axis=0)
        fitted = self._inverse @ (self._products.T @ centred) / len(self._z)
        left = centred - self._products @ fitted
        weights = np.zeros((len(self._keys), len(theta)))
        weights[self._used] = fitted / self._scales[:, None]
        scores = [
            combined(
                [
                    self._moments.cross_sums[j],
                    *(self._moments.gram_sums[key] for key in self._keys),
                ],
                [1.0, *(-weights[:, j])],
            )
            for j in range(len(theta))
        ]
        return scores, self._slopes(theta), left.T @ left / len(self._z) ** 2
