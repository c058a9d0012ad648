"""Gaussian noise on arrays, added in double precision and rounded to a public grid."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fedloom.privacy.noise import NoiseSource, snap

__all__ = ["check_noise", "snapped_gaussian"]

_PART = 12288


def check_noise(noise_multiplier: float, noise: NoiseSource) -> None:
    """Refuses a noise multiplier that protects nobody, unless the source says so itself.

    Raises:
      ValueError: not a finite number above 0. An insecure source may go without noise: tests
        compare sums that way.
    """
    if not math.isfinite(noise_multiplier) or noise_multiplier < 0.0:
        raise ValueError(f"noise_multiplier must be finite and > 0, got {noise_multiplier!r}")
    if noise_multiplier == 0.0 and not noise.insecure:
        raise ValueError("noise_multiplier 0 has no privacy: it needs an insecure noise source")


def snapped_gaussian(
    exact: NDArray[np.floating], std: float, noise: NoiseSource
) -> NDArray[np.float64]:
    """Returns `exact` plus N(0, std^2) on every coordinate, rounded to the grid of `std`."""
    answer = np.array(exact, dtype=np.float64)
    flat = answer.reshape(-1)
    # Part by part: what stays in the cache is noised three times faster.
    for start in range(0, flat.size, _PART):
        part = flat[start : start + _PART]
        part += noise.normal(part.size, std)
        part[:] = snap(part, std)
    return answer
