"""What every Gaussian mechanism asks of its noise, and what one call of each costs.

The prices are the events that plans are priced by and ledgers charged. Each mechanism's module
offers its own as `event`. They stand here because plans are resolved, approved and verified on
machines without torch, which two of the mechanisms need.
"""

from __future__ import annotations

import math

from dp_accounting import DpEvent

from fedloom.privacy.events import gaussian, subsampled
from fedloom.privacy.noise import NoiseSource

__all__ = ["check_noise", "gradient_event", "statistic_event", "training_event"]


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


def statistic_event(noise_multiplier: float) -> DpEvent:
    """Returns the price of one `noisy_sum`, or of the sum of its shares."""
    return gaussian(noise_multiplier)


def gradient_event(sample_rate: float, noise_multiplier: float) -> DpEvent:
    """Returns the price of one `noisy_gradient`, or of the sum of its shares."""
    return subsampled(sample_rate, noise_multiplier, 1)


def training_event(sample_rate: float, noise_multiplier: float, local_steps: int) -> DpEvent:
    """Returns the price of one `private_training`."""
    return subsampled(sample_rate, noise_multiplier, local_steps)
