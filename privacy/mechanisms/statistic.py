"""The answer to `statistic`: one sum over all records, with Gaussian noise.

Guarantee: the answer is one Gaussian mechanism of the given noise multiplier, if every record's
vector has L2 norm at most `l2_norm`.
Neighbouring relation: add or remove one record; the number of records stays private.
Price: `GaussianDpEvent(noise_multiplier)`, without amplification: every record takes part.
Not covered: floating point beyond the rounding of `fedloom.privacy.noise.snap`, and timing.

Source: Dwork & Roth 2014, appendix A; priced exactly by its privacy loss distribution.
"""

from __future__ import annotations

import numpy as np
from dp_accounting import DpEvent
from numpy.typing import ArrayLike, NDArray

from fedloom.privacy.accounting import gaussian
from fedloom.privacy.mechanisms.gaussian import check_noise, snapped_gaussian
from fedloom.privacy.noise import NoiseSource

__all__ = ["event", "noisy_sum"]


def event(noise_multiplier: float) -> DpEvent:
    """Returns the price of one `noisy_sum`."""
    return gaussian(noise_multiplier)


def noisy_sum(
    total: ArrayLike, *, l2_norm: float, noise_multiplier: float, noise: NoiseSource
) -> NDArray[np.float64]:
    """Returns `total` with noise N(0, (noise_multiplier * l2_norm)^2) on every coordinate.

    Args:
      total: The exact sum over records, any shape (private).
      l2_norm: Public bound on the L2 norm of one record's vector, > 0.
      noise_multiplier: Noise in units of `l2_norm`, > 0.
      noise: A fresh cryptographic source.

    Raises:
      ValueError: a parameter is out of range.

    >>> source = NoiseSource.from_insecure_seed(7)
    >>> noisy_sum([10.0, 20.0], l2_norm=1.0, noise_multiplier=0.001, noise=source).round(1)
    array([10., 20.])
    """
    if not 0.0 < l2_norm < float("inf"):
        raise ValueError(f"l2_norm must be finite and > 0, got {l2_norm!r}")
    check_noise(noise_multiplier, noise)
    exact = np.asarray(total, dtype=np.float64)
    return snapped_gaussian(exact, noise_multiplier * l2_norm, noise)
