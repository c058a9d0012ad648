"""The answer to `statistic`: one sum over all records, with Gaussian noise, on a public grid.

Guarantee: `num_shares` such answers, from sites that keep their noise secret, have a sum that is
one Gaussian mechanism of the given noise multiplier, if one record changes the exact sums by an
L2 norm of at most `l2_norm`; a single answer is, with `num_shares` 1. With more shares than one
an answer alone has less noise than that, and must not leave a site unmasked.
Neighbouring relation: add or remove one record; the number of records stays private. Where a
unit of privacy has several records, `l2_norm` bounds what all of them change.
Price: `GaussianDpEvent(noise_multiplier)`, without amplification: every record takes part.
Not covered: the noise is made of doubles (`fedloom.privacy.noise`), and timing. The exact sum
meets it in integers, so its own low bits tell nothing.

Source: Dwork & Roth 2014, appendix A; priced exactly by its privacy loss distribution. Rounded
shares: docs/secure-sum.md, theorem 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fedloom.privacy.mechanisms.gaussian import check_noise
from fedloom.privacy.mechanisms.gaussian import statistic_event as event
from fedloom.privacy.noise import NoiseSource
from fedloom.privacy.secure_sum.shares import noise_share
from fedloom.privacy.secure_sum.sum_grid import sensitivity_on_grid, to_grid

__all__ = ["event", "noisy_sum"]


def noisy_sum(
    total: ArrayLike,
    *,
    l2_norm: float,
    noise_multiplier: float,
    noise: NoiseSource,
    grid_step: float,
    num_shares: int = 1,
    integer_valued: bool = True,
) -> NDArray[np.int64]:
    """Returns `total` in grid units, with one share of the noise on every coordinate.

    All shares together have a standard deviation of `noise_multiplier * l2_norm`, where a sum
    of real numbers (`whole` false) first adds what rounding to the grid can do to `l2_norm`.

    Args:
      total: The exact sum over records, any shape (private): integers if `whole`.
      l2_norm: Public bound on the L2 norm of what one unit of privacy changes, > 0.
      noise_multiplier: Noise of all shares in units of `l2_norm`, > 0.
      noise: A fresh cryptographic source.
      grid_step: The grid's step, of `fedloom.privacy.secure_sum.sum_grid.grid_step_of`.
      num_shares: Shares that make up the noise; 1 where every answer is private alone.
      integer_valued: Whether sums are vectors of integers, so that the grid rounds nothing.

    Raises:
      ValueError: a parameter is out of range, or a `whole` sum is not of integers.
      ConfigError: the grid does not fit.

    >>> source = NoiseSource.from_insecure_seed(7)
    >>> noisy_sum([10, 20], l2_norm=1.0, noise_multiplier=0.01, noise=source, grid_step=1.0)
    array([10, 20])
    """
    if not 0.0 < l2_norm < float("inf"):
        raise ValueError(f"l2_norm must be finite and > 0, got {l2_norm!r}")
    check_noise(noise_multiplier, noise)
    exact = np.asarray(total)
    if integer_valued and exact.dtype.kind not in "iu":
        raise ValueError(f"a whole sum has integers, got {exact.dtype}")
    std = noise_multiplier * sensitivity_on_grid(l2_norm, grid_step, exact.size, integer_valued)
    noised = to_grid(exact, grid_step)
    noised += noise_share(exact.size, std, num_shares, grid_step, noise).reshape(exact.shape)
    return noised
