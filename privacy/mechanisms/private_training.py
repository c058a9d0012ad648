"""The answer to `train`: weights after k local steps of DP-SGD.

Guarantee: k Poisson-subsampled Gaussian mechanisms, composed. Every step draws a fresh batch,
clips so that a unit moves the sum by at most `max_grad_norm` with all rounding, and adds fresh
noise of standard deviation `noise_multiplier * max_grad_norm`, an empty batch included; optimiser
and weights are post-processing of the noised sums. Sums are divided by `normaliser`, a public
number. Optimiser state starts fresh at each call and is thrown away.
Neighbouring relation: add or remove one unit: a record, or a person with all its rows.
Price: k times `PoissonSampledDpEvent(sample_rate, GaussianDpEvent(noise_multiplier))`.
Not covered: as for `fedloom.privacy.mechanisms.noisy_gradient`; and noise meets the sum in doubles,
which are then rounded (`fedloom.privacy.noise.round_to_grid`).

Engine `opacus` trains with Opacus' GradSampleModule and DPOptimizer, so that an auditor can hold
a site against Opacus itself; `fused` takes the same steps, several times faster. Given the same
random source both give the same weights up to rounding. Only `fused` clips persons.

Source: Abadi et al. 2016 (arXiv:1607.00133), algorithm 1, with a fixed normaliser.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fedloom.common.vocabulary import Optimizer
from fedloom.privacy.clipping import clipped_gradient_sum
from fedloom.privacy.clipping.single import tightened
from fedloom.privacy.clipping.units import check_clip, check_module, split_batch, trainable
from fedloom.privacy.mechanisms.background import in_background
from fedloom.privacy.mechanisms.batches import (
    BatchModel,
    PoissonBatch,
    check_sample_rate,
    noised_tensors,
    one_thread,
    poisson_batch,
)
from fedloom.privacy.mechanisms.gaussian import check_noise
from fedloom.privacy.mechanisms.gaussian import training_event as event
from fedloom.privacy.noise import NoiseSource

__all__ = ["TRAINING_ENGINES", "event", "private_training"]

TRAINING_ENGINES = ("fused", "opacus")

AddNoise = Callable[[dict[str, Tensor]], dict[str, Tensor]]
Normals = Callable[[], AbstractContextManager[AddNoise]]
Step = Callable[[PoissonBatch], None]


@one_thread()
def private_training(
    module: nn.Module,
    model: BatchModel,
    features: NDArray[Any],
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
    persons: NDArray[np.int64] | None = None,
) -> dict[str, NDArray[np.floating]]:
    """Trains `module` in place and returns its trainable weights.

    Args:
      module: The private module, with the round's weights.
      model: Makes batches and losses; asked for a fresh batch at every step.
      features: (N, ...) coded records (private).
      classes: (N,) classes of all records (private).
      public: The round's public arrays, such as a GAN's generator.
      local_steps: Number of steps, at least 1.
      sample_rate: Probability in [0, 1] of each unit at each step.
      noise_multiplier: Noise in units of `max_grad_norm`, > 0.
      max_grad_norm: Clip of one unit's gradient over all parameters, in [1e-6, 1e6].
      learning_rate: Step size of the optimiser.
      normaliser: Public expected batch size, > 0; never the size of a batch or of the table.
      noise: A fresh cryptographic source.
      optimizer: "adam" or "sgd".
      engine: One of `TRAINING_ENGINES`.
      max_physical_batch: Largest number of records in memory at once; public.
      project: Applied to the module after each step, such as a clamp of a critic's weights. It
        sees noised weights only, so it is post-processing.
      persons: (N,) the person of each record, if persons are the units; at most 100 rows of each
        count. Only with engine "fused".

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
    length = sum(p.numel() for p in parameters.values())
    std = noise_multiplier * max_grad_norm

    @contextmanager
    def fresh_noise() -> Iterator[AddNoise]:
        with in_background(lambda: noise.normal(length, std), length) as normals:
            yield lambda sums: noised_tensors(sums, normals(), std)

    steps = {"opacus": _opacus_steps, "fused": _fused_steps}.get(engine)
    if steps is None:
        raise ValueError(f"engine must be one of {', '.join(TRAINING_ENGINES)}; got {engine!r}")
    if persons is not None and engine != "fused":
        raise ValueError(
            f"engine {engine!r} cannot clip a person's rows as one; use engine='fused'"
        )
    module.train()
    with steps(
        module,
        model,
        inner,
        fresh_noise,
        max_grad_norm=tightened(max_grad_norm),
        normaliser=normaliser,
        max_physical_batch=max_physical_batch,
    ) as step:
        for _ in range(local_steps):
            sampled = poisson_batch(
                model,
                features,
                classes,
                public,
                sample_rate=sample_rate,
                noise=noise,
                device=device,
                persons=persons,
            )
            step(sampled)
            if project is not None:
                with torch.no_grad():
                    project(module)
    return {name: p.detach().cpu().numpy().copy() for name, p in parameters.items()}


def _optimizer(
    name: str, parameters: Mapping[str, nn.Parameter], learning_rate: float
) -> torch.optim.Optimizer:
    if name == Optimizer.ADAM:
        return torch.optim.Adam(parameters.values(), lr=learning_rate)
    if name == Optimizer.SGD:
        return torch.optim.SGD(parameters.values(), lr=learning_rate)
    raise ValueError(f"optimizer must be 'adam' or 'sgd', got {name!r}")


@contextmanager
def _fused_steps(
    module: nn.Module,
    model: BatchModel,
    inner: torch.optim.Optimizer,
    fresh_noise: Normals,
    *,
    max_grad_norm: float,
    normaliser: float,
    max_physical_batch: int | None,
) -> Iterator[Step]:
    parameters = trainable(module)

    def step(sampled: PoissonBatch) -> None:
        with fresh_noise() as add_noise:
            sums = clipped_gradient_sum(
                module,
                model.loss,
                sampled.tensors,
                max_grad_norm=max_grad_norm,
                engine="fused",
                max_physical_batch=max_physical_batch,
                dtype=torch.float64,
                persons=sampled.persons,
                shuffled=sampled.persons is None,
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
    fresh_noise: Normals,
    *,
    max_grad_norm: float,
    normaliser: float,
    max_physical_batch: int | None,
) -> Iterator[Step]:
    # Opacus takes a second to import; the other engine does without it.
    from fedloom.privacy.clipping.opacus_engine import NoisyOptimizer, PerUnitGradients

    def add_noise(sums: dict[str, Tensor]) -> dict[str, Tensor]:
        with fresh_noise() as add:
            return add(sums)

    with PerUnitGradients(module) as hooks:
        optimizer = NoisyOptimizer(
            inner,
            trainable(module),
            max_grad_norm=max_grad_norm,
            add_noise=add_noise,
            normaliser=normaliser,
        )

        def step(sampled: PoissonBatch) -> None:
            parts = list(split_batch(sampled.tensors, max_physical_batch))
            for part in parts:
                optimizer.signal_skip_step(part is not parts[-1])
                hooks.backward(model.loss, part.batch, part.used)
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)

        yield step
