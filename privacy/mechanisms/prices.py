"""What one call of each mechanism costs: the events that plans are priced by and ledgers charged.

Each mechanism's module offers its own as `event`. They stand here because plans are resolved,
approved and verified on machines without torch, which two of the mechanisms need.
"""

from __future__ import annotations

from dp_accounting import DpEvent

from fedloom.privacy.events import gaussian, subsampled

__all__ = ["gradient_event", "statistic_event", "training_event"]


def statistic_event(noise_multiplier: float) -> DpEvent:
    """Returns the price of one `noisy_sum`, or of the sum of its shares."""
    return gaussian(noise_multiplier)


def gradient_event(sample_rate: float, noise_multiplier: float) -> DpEvent:
    """Returns the price of one `noisy_gradient`, or of the sum of its shares."""
    return subsampled(sample_rate, noise_multiplier, 1)


def training_event(sample_rate: float, noise_multiplier: float, local_steps: int) -> DpEvent:
    """Returns the price of one `private_training`."""
    return subsampled(sample_rate, noise_multiplier, local_steps)
