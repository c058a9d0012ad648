"""The answer to `gradient`: one noised sum of clipped gradients over a Poisson-sampled batch.

Guarantee: one Poisson-subsampled Gaussian mechanism. Every record enters the batch by itself
with probability `sample_rate`; its gradient over all parameters is clipped to `max_grad_norm`;
noise of standard deviation `noise_multiplier * max_grad_norm` goes on every coordinate, an
empty batch included. The sum is not divided by anything private.
Neighbouring relation: add or remove one record.
Price: `PoissonSampledDpEvent(sample_rate, GaussianDpEvent(noise_multiplier))`.
Holds for any weights and any public arrays, so also for an adversarial coordinator's.
Not covered: floating point beyond `fedloom.privacy.noise.snap`, timing, and losses that mix the
records of a batch.

Source: Abadi et al. 2016 (arXiv:1607.00133), algorithm 1, without its division.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from dp_accounting import DpEvent
from numpy.typing import NDArray
from torch import nn

from fedloom.privacy.accounting import subsampled
from fedloom.privacy.clipping import clipped_gradient_sum
from fedloom.privacy.clipping.units import check_clip, check_module
from fedloom.privacy.mechanisms.batches import (
    BatchModel,
    check_sample_rate,
    noised_tensors,
    one_thread,
    poisson_batch,
)
from fedloom.privacy.mechanisms.gaussian import check_noise
from fedloom.privacy.noise import NoiseSource

__all__ = ["event", "noisy_gradient"]


def event(sample_rate: float, noise_multiplier: float) -> DpEvent:
    """Returns the price of one `noisy_gradient`."""
    return subsampled(sample_rate, noise_multiplier, 1)


@one_thread()
def noisy_gradient(
    module: nn.Module,
    model: BatchModel,
    feature_codes: NDArray[np.int32],
    classes: NDArray[np.int64],
    public: Mapping[str, NDArray[np.float32]],
    *,
    sample_rate: float,
    noise_multiplier: float,
    max_grad_norm: float,
    noise: NoiseSource,
    engine: str = "fused",
    max_physical_batch: int | None = None,
) -> dict[str, NDArray[np.float32]]:
    """Returns the noised sum of clipped gradients at the module's present weights.

    Args:
      module: The private module, with the round's weights.
      model: Makes batches and losses.
      feature_codes: (N, m) codes of all records (private).
      classes: (N,) classes of all records (private).
      public: The round's public arrays, such as a GAN's generator.
      sample_rate: Probability in [0, 1] of each record.
      noise_multiplier: Noise in units of `max_grad_norm`, > 0.
      max_grad_norm: Clip of one record's gradient over all parameters, in [1e-6, 1e6].
      noise: A fresh cryptographic source.
      engine: See `fedloom.privacy.clipping`.
      max_physical_batch: Largest number of records in memory at once; public.

    Returns:
      float32 arrays by parameter name.

    Raises:
      ValueError: a parameter or the module is unusable; never because of the records.
    """
    check_noise(noise_multiplier, noise)
    check_sample_rate(sample_rate)
    check_clip(max_grad_norm, max_physical_batch)
    check_module(module)
    device = next(module.parameters()).device
    batch = poisson_batch(
        model, feature_codes, classes, public, sample_rate=sample_rate, noise=noise, device=device
    )
    sums = clipped_gradient_sum(
        module,
        model.loss,
        batch,
        max_grad_norm=max_grad_norm,
        engine=engine,
        max_physical_batch=max_physical_batch,
        dtype=torch.float64,
    )
    noised = noised_tensors(sums, noise_multiplier * max_grad_norm, noise)
    return {name: value.float().cpu().numpy() for name, value in noised.items()}
