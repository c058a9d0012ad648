"""What every Gaussian mechanism asks of its noise before it reads a record."""

from __future__ import annotations

import math

from fedloom.privacy.noise import NoiseSource

__all__ = ["check_noise"]


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
