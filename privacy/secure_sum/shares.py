"""Noise in shares: each site rounds its own Gaussian, and the sum is as private as one Gaussian.

Guarantee: let k sites that keep their shares secret each add round(G_i), G_i ~ N(0, s^2) in grid
units, to integer vectors with the sum x. Then the sum x + round(G_1) + ... + round(G_k) is
within total variation exp(`log_gap(s, k, length)`) of a post-processing of x + N(0, k s^2), the
continuous Gaussian mechanism. Its privacy loss distribution applies; the gap adds
(1 + e^epsilon) * gap to delta, and on the grids of `sum_grid.grid_step_of` it lies below 10^-1000.
One share alone is plain post-processing of a Gaussian: no gap. Proof: docs/secure-sum.md.
Neighbouring relation and price: those of the mechanism whose sum x is.
Not covered: G_i is a double; see `fedloom.privacy.noise`. The private sum enters in integers
alone, so its low bits cannot show through the noise's.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fedloom.common.errors import ConfigError
from fedloom.privacy.noise import NoiseSource
from fedloom.privacy.secure_sum.sum_grid import check_grid_step

__all__ = ["log_gap", "noise_share"]

_PART = 12288
_MAX_STD = 2.0**48


def noise_share(
    size: int, std: float, num_shares: int, grid_step: float, noise: NoiseSource
) -> NDArray[np.int64]:
    """Draws one share of the noise of a sum, in grid units.

    Args:
      size: Number of coordinates.
      std: Standard deviation that `num_shares` shares have together, in the sum's own scale;
        0 gives zeros, which protect nobody.
      num_shares: Shares that make up `std`: the roster less the colluding sites; 1 alone.
      grid_step: The grid's step.
      noise: A fresh cryptographic source.

    Raises:
      ConfigError: a number is out of range.

    >>> noise_share(3, 0.0, 1, 1.0, NoiseSource()).tolist()
    [0, 0, 0]
    """
    check_grid_step(grid_step)
    if type(num_shares) is not int or num_shares < 1:
        raise ConfigError(f"a sum's noise has at least one share, got {num_shares!r}")
    if not 0.0 <= std / grid_step <= _MAX_STD:
        raise ConfigError(f"noise of {std!r} does not fit a grid with step {grid_step!r}")
    share_std = std / grid_step / math.sqrt(num_shares)
    share = np.empty(size, dtype=np.int64)
    # Part by part: what stays in the cache is drawn three times faster.
    for start in range(0, size, _PART):
        part = share[start : start + _PART]
        drawn = noise.normal(part.size, share_std)
        np.rint(drawn, out=drawn)
        part[:] = drawn
    return share


def log_gap(share_std: float, num_shares: int, length: int) -> float:
    """Returns the natural logarithm of the theorem's bound on the total variation.

    Args:
      share_std: Standard deviation of one share in grid units, > 0.
      num_shares: Shares k that nobody but their owners knows, at least 1.
      length: Coordinates of the sum.

    Returns:
      At most 0; -inf for one share.

    Source: docs/secure-sum.md, theorem 1: with q = exp(-2 pi^2 s^2 / k), the gap is at most
    length / 2 * ((1 + 2 q / (1 - q^3))^(k - 1) - 1).

    >>> log_gap(1024.0, 9, 10**6) < -1e6, log_gap(0.5, 1, 10)
    (True, -inf)
    """
    if not (share_std > 0.0 and num_shares >= 1 and length >= 1):
        raise ConfigError("a gap needs a positive noise, a share and a coordinate")
    if num_shares == 1:
        return -math.inf
    log_q = -2.0 * math.pi**2 * share_std**2 / num_shares
    # j^2 >= 1 + 3 (j - 1), so q + q^4 + q^9 + ... <= q / (1 - q^3).
    log_theta = math.log(2.0) + log_q - math.log(-math.expm1(3.0 * log_q))
    if log_theta < -600.0:
        # (1 + theta)^(k - 1) - 1 <= y e^y with y = (k - 1) theta, and e^y rounds to 1.
        log_tau = math.log(num_shares - 1) + log_theta
    else:
        grown = (num_shares - 1) * math.log1p(math.exp(log_theta))
        log_tau = math.log(math.expm1(grown)) if grown < 700.0 else grown
    return min(0.0, math.log(length / 2.0) + log_tau)
