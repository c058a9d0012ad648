"""Linear forms of noisy counts, and the exact covariance of their noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.privacy.inference.counted import CountedTables

__all__ = ["Form", "noise_covariance"]

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """A weight for each count of some tables; the form is their weighted sum.

    Attributes:
      weights: by number of the table, of the table's shape.
    """

    weights: Mapping[int, Array]

    def __add__(self, other: Form) -> Form:
        """Returns the form of the sum."""
        merged = dict(self.weights)
        for number, weights in other.weights.items():
            merged[number] = merged[number] + weights if number in merged else weights
        return Form(merged)

    def __mul__(self, factor: float) -> Form:
        """Returns the form times a number."""
        return Form({number: weights * factor for number, weights in self.weights.items()})

    def value(self, tables: CountedTables) -> float:
        """Returns what the noisy counts give."""
        return sum(
            float((weights * tables.tables[number].counts).sum())
            for number, weights in self.weights.items()
        )

    def noise(self, tables: CountedTables) -> float:
        """Returns the standard deviation of the noise in `value`."""
        return float(
            np.sqrt(
                sum(
                    float((weights**2 * tables.tables[number].variances).sum())
                    for number, weights in self.weights.items()
                )
            )
        )


def noise_covariance(forms: Sequence[Form], tables: CountedTables) -> Array:
    """Returns the covariance of the noise in several forms, (forms, forms): exact."""
    covariance = np.zeros((len(forms), len(forms)))
    for number, table in enumerate(tables.tables):
        touching = [place for place, form in enumerate(forms) if number in form.weights]
        if touching:
            stds = np.sqrt(table.variances)
            rows = np.stack([(forms[place].weights[number] * stds).ravel() for place in touching])
            covariance[np.ix_(touching, touching)] += rows @ rows.T
    return covariance
