"""Linear, logistic and Poisson regression from noisy sums of products.

With z = (1, x), all families solve E[z y] = E[z mu(z'b)]. The left side and E[z z'] come from the
noisy tables. For the linear family that is all: E[z mu] = E[z z'] b. For the others E[z mu] needs
the joint distribution of the covariates, of which the tables tell every pair. It is taken on rows
of the generator that are weighted so that all their second moments agree with the noisy tables:
what pairs tell comes from the tables, and only what no pair tells comes from the generator.

The error of b is linear in that of the sums to first order, so its covariance is a sandwich: the
exact covariance of the noise, and that of sampling as the generator's rows show it, between the
inverse slopes of the equations. Where noise could make the covariates indistinguishable there is
no such expansion, and the regression is refused.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedloom.privacy.inference.calibration import Calibrated
from fedloom.privacy.inference.design import Design, check_response
from fedloom.privacy.inference.families import Family
from fedloom.privacy.inference.formula import Formula
from fedloom.privacy.inference.moments import Moments
from fedloom.privacy.inference.result import Estimate, estimated
from fedloom.privacy.inference.sums import Sums, combined

__all__ = ["INTERCEPT", "Regression", "regress"]

INTERCEPT = "(intercept)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Regression:
    """Coefficients, the intercept first.

    Attributes:
      estimates: one a coefficient.
      notes: how responses and levels were coded.
    """

    estimates: tuple[Estimate, ...]
    notes: tuple[str, ...]


def regress(sums: Sums, formula: Formula, family: Family) -> Regression:
    """Returns the coefficients of a regression with their errors.

    Args:
      sums: of the study.
      formula: response and covariates.
      family: of the response.

    Raises:
      ConfigError: a column or value does not exist, or does not fit the family.
      NotMeasuredError: a pair was not counted, or the noise hides the answer.
    """
    design = Design(sums, formula)
    check_response(sums, design.response, family)
    moments = Moments(sums, design.response, design.terms)
    moments.check_signal()
    if family.name == "linear":
        theta = np.linalg.solve(moments.gram, moments.cross)
        scores = [
            combined([moments.cross_sums[j], *moments.gram_row(j)], [1.0, *(-theta)])
            for j in range(len(theta))
        ]
        slopes, extra = moments.gram, np.zeros_like(moments.gram)
    else:
        theta, scores, slopes, extra = Calibrated(sums, moments, family).solve()
    noise, sampling = sums.covariances(scores)
    bread = np.linalg.inv(slopes)
    back = moments.uncentred()
    spread = [back @ bread @ part @ bread.T @ back.T for part in (noise, sampling + extra)]
    values = back @ theta
    if family.name == "linear":
        values[0] += moments.center
    names = [INTERCEPT, *(term.name for term in design.terms)]
    return Regression(
        estimates=tuple(
            estimated(name, float(values[j]), noise=spread[0][j, j], sampling=spread[1][j, j])
            for j, name in enumerate(names)
        ),
        notes=tuple(design.notes),
    )
