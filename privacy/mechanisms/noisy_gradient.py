"""The answer to `gradient`: one noised sum of clipped gradients over a Poisson-sampled batch.

Guarantee: one Poisson-subsampled Gaussian mechanism, of the sum of `num_shares` such answers from
sites that keep their noise secret; of a single answer with `num_shares` 1. Every unit enters the
batch by itself with probability `sample_rate`; its gradient over all parameters, summed over its
rows, is clipped so that with all rounding it moves the exact sum by at most `max_grad_norm`. The
sum is rounded once to the integers of a public grid, which moves two neighbouring sums at most
sqrt(d) steps further apart. Noise is a multiple of both together
(`sensitivity_on_grid(max_grad_norm)`); it goes on every coordinate, an empty batch included. The
sum is not divided by anything private.
Neighbouring relation: add or remove one unit: a record, or a person with all its rows.
Price: `PoissonSampledDpEvent(sample_rate, GaussianDpEvent(noise_multiplier))`.
Holds for any weights and any public arrays, so also for an adversarial coordinator's.
Not covered: the noise is made of doubles (`fedloom.privacy.noise`); timing; losses that mix the
rows of a batch; machines whose kernels treat rows differently in ways that
`fedloom.privacy.clipping.row_invariance` does not see.

Source: Abadi et al. 2016 (arXiv:1607.00133), algorithm 1, without its division. Rounded shares:
docs/secure-sum.md, theorem 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fedloom.privacy.clipping import clipped_gradient_sum
from fedloom.privacy.clipping.single import tightened
from fedloom.privacy.clipping.units import check_clip, check_module, trainable
from fedloom.privacy.mechanisms.background import in_background
from fedloom.privacy.mechanisms.batches import (
    BatchModel,
    check_sample_rate,
    one_thread,
    poisson_batch,
)
from fedloom.privacy.mechanisms.gaussian import check_noise
from fedloom.privacy.mechanisms.gaussian import gradient_event as event
from fedloom.privacy.noise import NoiseSource
from fedloom.privacy.secure_sum.shares import noise_share
from fedloom.privacy.secure_sum.sum_grid import sensitivity_on_grid, to_grid

__all__ = ["event", "noisy_gradient"]


@one_thread()
def noisy_gradient(
    module: nn.Module,
    model: BatchModel,
    features: NDArray[Any],
    classes: NDArray[np.int64],
    public: Mapping[str, NDArray[np.float32]],
    *,
    sample_rate: float,
    noise_multiplier: float,
    max_grad_norm: float,
    noise: NoiseSource,
    grid_step: float,
    num_shares: int = 1,
    persons: NDArray[np.int64] | None = None,
    engine: str = "fused",
    max_physical_batch: int | None = None,
) -> NDArray[np.int64]:
    """Returns the sum of clipped gradients at the module's present weights, with its noise.

    Args:
      module: The private module, with the round's weights.
      model: Makes batches and losses.
      features: (N, ...) coded records (private).
      classes: (N,) classes of all records (private).
      public: The round's public arrays, such as a GAN's generator.
      sample_rate: Probability in [0, 1] of each unit.
      noise_multiplier: Noise of all shares in units of `max_grad_norm` as it is on the grid, > 0.
      max_grad_norm: Clip of one unit's gradient over all parameters, in [1e-6, 1e6].
      noise: A fresh cryptographic source.
      grid_step: The grid's step, of `fedloom.privacy.secure_sum.sum_grid.grid_step_of`.
      num_shares: Shares that make up the noise; 1 where every answer is private alone.
      persons: (N,) the person of each record, if persons are the units; at most 100 rows of each
        count. Not with engine "opacus".
      engine: See `fedloom.privacy.clipping`.
      max_physical_batch: Largest number of records in memory at once; public.

    Returns:
      (d,) int64 in grid units: all trainable parameters end to end, in the module's order.

    Raises:
      ValueError: a parameter or the module is unusable; never because of the records.
      ConfigError: the grid does not fit.
    """
    check_noise(noise_multiplier, noise)
    check_sample_rate(sample_rate)
    check_clip(max_grad_norm, max_physical_batch)
    check_module(module)
    parameters = trainable(module)
    length = sum(p.numel() for p in parameters.values())
    std = noise_multiplier * sensitivity_on_grid(
        max_grad_norm, grid_step, length, integer_valued=False
    )
    # Of no coordinate: an error of its arguments comes before any record is read.
    noise_share(0, std, num_shares, grid_step, noise)
    sampled = poisson_batch(
        model,
        features,
        classes,
        public,
        sample_rate=sample_rate,
        noise=noise,
        device=next(iter(parameters.values())).device,
        persons=persons,
    )
    with in_background(
        lambda: noise_share(length, std, num_shares, grid_step, noise), length
    ) as share:
        sums = clipped_gradient_sum(
            module,
            model.loss,
            sampled.tensors,
            max_grad_norm=tightened(max_grad_norm),
            engine=engine,
            max_physical_batch=max_physical_batch,
            dtype=torch.float64,
            persons=sampled.persons,
            shuffled=sampled.persons is None,
        )
        exact = torch.cat([value.reshape(-1) for value in sums.values()])
        answer = to_grid(exact.cpu().numpy(), grid_step)
        answer += share()
    return answer
