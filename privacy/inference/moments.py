"""First and second moments of a regression's terms, as the noisy tables give them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.common.errors import NotMeasuredError
from fedloom.privacy.inference.sums import Sum, Sums, combined
from fedloom.privacy.inference.terms import Term

__all__ = ["Moments"]

Array = NDArray[Any]

# How many standard deviations of its noise the variance of any combination of covariates must be.
_SIGNAL = 4.0


class Moments:
    """Averages of z z' and z y, with z = (1, x), and the sums whose errors are theirs.

    Covariates and response are taken about plain numbers near their means; the first moments about
    these keep what is uncertain of the means.

    Attributes:
      terms: the covariates.
      centers: what they are taken about.
      center: what the response is taken about.
      gram: average of z z', (p + 1, p + 1).
      cross: average of z y, (p + 1,).
      gram_sums: by row and column j <= k, the error of an entry of `gram`; none for the constant.
      cross_sums: the errors of `cross`.
    """

    def __init__(self, sums: Sums, response: Term, terms: Sequence[Term]) -> None:
        """Computes them.

        Raises:
          NotMeasuredError: a pair was not counted.
        """
        self._sums, self.terms = sums, list(terms)
        self.centers = [term.mean(sums.tables.shares(term.column)) for term in terms]
        self.center = response.mean(sums.tables.shares(response.column))
        size = len(terms) + 1
        self.gram, self.cross = np.eye(size), np.zeros(size)
        self.gram_sums: dict[tuple[int, int], Sum] = {}
        self.cross_sums: list[Sum] = []
        for j, (term, center) in enumerate(zip(terms, self.centers, strict=True), start=1):
            self._set(0, j, sums.of(term, center), sums.observed(term))
            for k in range(1, j + 1):
                other, other_center = terms[k - 1], self.centers[k - 1]
                product = sums.product(other, term, other_center, center)
                self._set(k, j, product, sums.both_observed(other, term))
        self._cross(0, sums.of(response, self.center), sums.observed(response))
        for j, (term, center) in enumerate(zip(terms, self.centers, strict=True), start=1):
            product = sums.product(term, response, center, self.center)
            self._cross(j, product, sums.both_observed(term, response))

    def gram_row(self, j: int) -> list[Sum]:
        """Returns the errors of a row of `gram`; the constant has none."""
        nothing = self._sums.total * 0.0
        return [self.gram_sums.get((min(j, k), max(j, k)), nothing) for k in range(len(self.gram))]

    def uncentred(self) -> Array:
        """Returns what turns coefficients about the centres into those about zero."""
        back = np.eye(len(self.gram))
        back[0, 1:] = -np.array(self.centers)
        return back

    def check_signal(self) -> None:
        """Refuses covariates that the noise could make indistinguishable.

        Raises:
          NotMeasuredError: names those that cannot be told apart.
        """
        if not self.terms:
            return
        variances = np.diag(self.gram)[1:] - self.gram[0, 1:] ** 2
        for j, (term, variance) in enumerate(zip(self.terms, variances, strict=True), start=1):
            noise = self.gram_sums[j, j].form.noise(self._sums.tables)
            if variance < _SIGNAL * noise or variance <= 0.0:
                raise NotMeasuredError(
                    f"noise hides how {term.name} varies (its variance {variance:.3g} has noise "
                    f"{noise:.2g}); if its bounds reach far beyond most records, write "
                    f"clip({term.column}, LOW, HIGH) with nearer ones, else join it with other "
                    "values or leave it out; a larger epsilon buys less noise"
                )
        scales = 1.0 / np.sqrt(variances)
        spread = (self.gram - np.outer(self.gram[0], self.gram[0]))[1:, 1:]
        eigenvalues, vectors = np.linalg.eigh(spread * np.outer(scales, scales))
        weights = vectors[:, 0] * scales
        pairs = [(j, k) for j in range(len(weights)) for k in range(j, len(weights))]
        combination = combined(
            [self.gram_sums[j + 1, k + 1] for j, k in pairs],
            [weights[j] * weights[k] * (1.0 if j == k else 2.0) for j, k in pairs],
        )
        noise = combination.form.noise(self._sums.tables)
        if eigenvalues[0] < _SIGNAL * noise:
            heavy = [self.terms[place].name for place in np.argsort(-np.abs(vectors[:, 0]))[:3]]
            raise NotMeasuredError(
                f"noise hides how {', '.join(heavy)} differ from each other (least eigenvalue of "
                f"their correlations {eigenvalues[0]:.2g}, its noise {noise:.2g}); leave one out; "
                "a larger epsilon buys less noise"
            )

    def _set(self, k: int, j: int, total: Sum, count: Sum) -> None:
        value, error = self._average(total, count)
        self.gram[k, j] = self.gram[j, k] = value
        self.gram_sums[k, j] = error

    def _cross(self, j: int, total: Sum, count: Sum) -> None:
        value, error = self._average(total, count)
        self.cross[j] = value
        self.cross_sums.append(error)

    def _average(self, total: Sum, count: Sum) -> tuple[float, Sum]:
        """Returns an average, and the sum whose error is the average's to first order."""
        number = max(count.value, 1.0)
        value = total.value / number
        return value, (total + count * -value) * (1.0 / number)
