"""The answer to `train`: weights after k local steps of DP-SGD.

Guarantee: k Poisson-subsampled Gaussian mechanisms, composed. Every step draws a fresh batch,
clips, and adds fresh noise of standard deviation `noise_multiplier * max_grad_norm`, an empty
batch included; optimiser and weights are post-processing of the noised sums. Sums are divided
by `normaliser`, a public number. Optimiser state starts fresh at each call and is thrown away.
Neighbouring relation: add or remove one record.
Price: k times `PoissonSampledDpEvent(sample_rate, GaussianDpEvent(noise_multiplier))`.
Not covered: as for `fedloom.privacy.mechanisms.gradient`.

Engine `opacus` trains with Opacus' GradSampleModule and DPOptimizer, so that an auditor can hold
a site against Opacus itself; `fused` takes the same steps, several times faster. Given the same
random source both give the same weights up to rounding.

Source: Abadi et al. 2016 (arXiv:1607.00133), algorithm 1, with a fixed normaliser.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from dp_accounting import DpEvent
from numpy.typing import NDArray
from torch import Tensor, nn

from fedloom.privacy.accounting import subsampled
from fedloom.privacy.clipping import Batch, clipped_gradient_sum
from fedloom.privacy.clipping.units import Part, check_clip, check_module, split_batch, trainable
from fedloom.privacy.mechanisms.batches import (
    BatchModel,
    check_sample_rate,
    noised_tensors,
    one_thread,
    poisson_batch,
)
from fedloom.privacy.mechanisms.gaussian import check_noise
from fedloom.privacy.noise import NoiseSource

__all__ = ["TRAINING_ENGINES", "event", "private_training"]

TRAINING_ENGINES = ("fused", "opacus")

AddNoise = Callable[[dict[str, Tensor]], dict[str, Tensor]]
Step = Callable[[Batch], None]


def event(sample_rate: float, noise_multiplier: float, local_steps: int) -> DpEvent:
    """Returns the price of one `private_training`."""
    return subsampled(sample_rate, noise_multiplier, local_steps)


@one_thread()
def private_training(
    module: nn.Module,
    model: BatchModel,
    feature_codes: NDArray[np.int32],
    classes: NDArray[np.int64],
    public: Mapping[str, NDArray[np.float32]],
    *,
    local_steps: int,
    sample_rate: float,
    noise_multiplier: float,
    max_grad_norm: float,
    learning_rate: float,
    normaliser: float,
    noise: NoiseSource,
    optimizer: str = "adam",
    engine: str = "opacus",
    max_physical_batch: int | None = None,
    project: Callable[[nn.Module], None] | None = None,
) -> dict[str, NDArray[np.floating]]:
    """Trains `module` in place and returns its trainable weights.

    Args:
      module: The private module, with the round's weights.
      model: Makes batches and losses; asked for a fresh batch at every step.
      feature_codes: (N, m) codes of all records (private).
      classes: (N,) classes of all records (private).
      public: The round's public arrays, such as a GAN's generator.
      local_steps: Number of steps, at least 1.
      sample_rate: Probability in [0, 1] of each record at each step.
      noise_multiplier: Noise in units of `max_grad_norm`, > 0.
      max_grad_norm: Clip of one record's gradient over all parameters, in [1e-6, 1e6].
      learning_rate: Step size of the optimiser.
      normaliser: Public expected batch size, > 0; never the size of a batch or of the table.
      noise: A fresh cryptographic source.
      optimizer: "adam" or "sgd".
      engine: One of `TRAINING_ENGINES`.
      max_physical_batch: Largest number of records in memory at once; public.
      project: Applied to the module after each step, such as a clamp of a critic's weights. It
        sees noised weights only, so it is post-processing.

    Returns:
      Arrays by parameter name, in the parameters' dtype.

    Raises:
      ValueError: a parameter or the module is unusable; never because of the records.
    """
    check_noise(noise_multiplier, noise)
    check_sample_rate(sample_rate)
    check_clip(max_grad_norm, max_physical_batch)
    if local_steps < 1:
        raise ValueError(f"local_steps must be at least 1, got {local_steps!r}")
    if not 0.0 < normaliser < float("inf"):
        raise ValueError(f"normaliser must be finite and > 0, got {normaliser!r}")
    check_module(module)
    parameters = trainable(module)
    device = next(iter(parameters.values())).device
    inner = _optimizer(optimizer, parameters, learning_rate)

    def add_noise(sums: dict[str, Tensor]) -> dict[str, Tensor]:
        return noised_tensors(sums, noise_multiplier * max_grad_norm, noise)

    steps = {"opacus": _opacus_steps, "fused": _fused_steps}.get(engine)
    if steps is None:
        raise ValueError(f"engine must be one of {', '.join(TRAINING_ENGINES)}; got {engine!r}")
    module.train()
    with steps(
        module,
        model,
        inner,
        add_noise,
        max_grad_norm=max_grad_norm,
        normaliser=normaliser,
        max_physical_batch=max_physical_batch,
    ) as step:
        for _ in range(local_steps):
            batch = poisson_batch(
                model,
                feature_codes,
                classes,
                public,
                sample_rate=sample_rate,
                noise=noise,
                device=device,
            )
            step(batch)
            if project is not None:
                with torch.no_grad():
                    project(module)
    return {name: p.detach().cpu().numpy().copy() for name, p in parameters.items()}


def _optimizer(
    name: str, parameters: Mapping[str, nn.Parameter], learning_rate: float
) -> torch.optim.Optimizer:
    if name == "adam":
        return torch.optim.Adam(parameters.values(), lr=learning_rate)
    if name == "sgd":
        return torch.optim.SGD(parameters.values(), lr=learning_rate)
    raise ValueError(f"optimizer must be 'adam' or 'sgd', got {name!r}")


@contextmanager
def _fused_steps(
    module: nn.Module,
    model: BatchModel,
    inner: torch.optim.Optimizer,
    add_noise: AddNoise,
    *,
    max_grad_norm: float,
    normaliser: float,
    max_physical_batch: int | None,
) -> Iterator[Step]:
    parameters = trainable(module)

    def step(batch: Batch) -> None:
        sums = clipped_gradient_sum(
            module,
            model.loss,
            batch,
            max_grad_norm=max_grad_norm,
            engine="fused",
            max_physical_batch=max_physical_batch,
            dtype=torch.float64,
        )
        for name, value in add_noise(sums).items():
            parameters[name].grad = (value / normaliser).to(parameters[name].dtype)
        inner.step()

    yield step
    inner.zero_grad(set_to_none=True)


@contextmanager
def _opacus_steps(
    module: nn.Module,
    model: BatchModel,
    inner: torch.optim.Optimizer,
    add_noise: AddNoise,
    *,
    max_grad_norm: float,
    normaliser: float,
    max_physical_batch: int | None,
) -> Iterator[Step]:
    # Opacus takes a second to import; the other engine does without it.
    from fedloom.privacy.clipping.opacus_engine import NoisyOptimizer, PerUnitGradients

    with PerUnitGradients(module) as hooks:
        optimizer = NoisyOptimizer(
            inner,
            trainable(module),
            max_grad_norm=max_grad_norm,
            add_noise=add_noise,
            normaliser=normaliser,
        )

        def step(batch: Batch) -> None:
            parts = list(split_batch(batch, max_physical_batch)) or [Part(batch, 0)]
            for part in parts:
                optimizer.signal_skip_step(part is not parts[-1])
                hooks.backward(model.loss, part.batch, part.units)
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)

        yield step
