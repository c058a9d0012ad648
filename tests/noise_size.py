"""Whether noise has the size that it should have, by a test whose power is known.

The sum of squares of n independent draws from N(0, s^2) is s^2 times a chi-square with n degrees
of freedom. `has_std` accepts what lies between two quantiles of that law; it calls an honest
mechanism broken once in 10^9 runs, so it may be used on noise that no seed fixes. With 3,000
draws it misses two thirds, a half or four thirds of the variance less than once in 10^6 runs, with
10,000 less than once in 10^12 (`power` computes it, a test holds both numbers).
"""

from __future__ import annotations

import numpy as np
import scipy.stats
from numpy.typing import ArrayLike

__all__ = ["ALARM", "has_std", "power"]

ALARM = 1e-9


def has_std(residuals: ArrayLike, std: float) -> bool:
    """Tells whether independent Gaussian draws of mean 0 fit a standard deviation."""
    values = np.asarray(residuals, dtype=np.float64).reshape(-1)
    low, high = _accepted(values.size)
    return bool(low < float(np.square(values / std).sum()) < high)


def power(ratio: float, count: int) -> float:
    """Returns the probability that `has_std` sees `ratio` times the right variance."""
    low, high = _accepted(count)
    law = scipy.stats.chi2(count)
    return float(law.cdf(low / ratio) + law.sf(high / ratio))


def _accepted(count: int) -> tuple[float, float]:
    law = scipy.stats.chi2(count)
    return float(law.ppf(ALARM / 2)), float(law.isf(ALARM / 2))
