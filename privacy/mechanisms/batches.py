"""Poisson-sampled batches of coded records, and noise on a step's tensors.

Both training mechanisms use these, and draw from the source in the same order: the batch, the
seed of the fillers, the noise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fedloom.privacy.mechanisms.gaussian import snapped_gaussian
from fedloom.privacy.noise import NoiseSource

__all__ = ["BatchModel", "check_sample_rate", "noised_tensors", "one_thread", "poisson_batch"]

_ROWS = 256


class BatchModel(Protocol):
    """What a mechanism needs of a model: batches of records, and one loss per record."""

    def make_batch(
        self,
        feature_codes: NDArray[np.int32],
        classes: NDArray[np.int64],
        public: Mapping[str, NDArray[np.float32]],
        rng: torch.Generator,
    ) -> dict[str, Tensor]:
        """Turns B coded records, possibly none, into tensors of first dimension B."""
        ...

    def loss(self, module: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
        """Returns one number per record, shape (B,), that depends on no other record."""
        ...


def check_sample_rate(sample_rate: float) -> None:
    """Refuses what is not a probability."""
    if not 0.0 <= sample_rate <= 1.0:
        raise ValueError(f"sample_rate must lie in [0, 1], got {sample_rate!r}")


@contextmanager
def one_thread() -> Iterator[None]:
    """Keeps torch to one thread, and puts the number back.

    Several threads share out a tensor's elements, and those next to a border are computed by
    other instructions: what a record contributes would depend on its place in the batch.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def poisson_batch(
    model: BatchModel,
    feature_codes: NDArray[np.int32],
    classes: NDArray[np.int64],
    public: Mapping[str, NDArray[np.float32]],
    *,
    sample_rate: float,
    noise: NoiseSource,
    device: torch.device,
) -> dict[str, Tensor]:
    """Draws one batch; latents and fakes come fresh with it.

    Their generator is torch's, not a cryptographic one: the guarantee holds for whoever knows
    every latent and fake, because those of one record enter that record's clipped loss alone.

    The model is always asked for `_ROWS` records, some of them fillers of codes 0 that are cut
    off again: a fake is rounded by kernels too, and must not change with the size of a batch.
    """
    chosen = noise.poisson_sample(len(classes), sample_rate)
    rng = torch.Generator().manual_seed(noise.integer63())
    parts = []
    for start in range(0, max(len(chosen), 1), _ROWS):
        of_part = chosen[start : start + _ROWS]
        codes = np.zeros((_ROWS, *feature_codes.shape[1:]), dtype=feature_codes.dtype)
        labels = np.zeros(_ROWS, dtype=classes.dtype)
        codes[: len(of_part)], labels[: len(of_part)] = feature_codes[of_part], classes[of_part]
        made = model.make_batch(codes, labels, public, rng)
        parts.append({name: value[: len(of_part)] for name, value in made.items()})
    return {name: torch.cat([part[name] for part in parts]).to(device) for name in parts[0]}


def noised_tensors(
    exact: Mapping[str, Tensor], std: float, noise: NoiseSource
) -> dict[str, Tensor]:
    """Adds N(0, std^2) to every coordinate, in the order of `exact`; all of one dtype."""
    values = list(exact.values())
    together = torch.cat([value.detach().reshape(-1) for value in values])
    noised = snapped_gaussian(together.cpu().numpy(), std, noise)
    sizes = [value.numel() for value in values]
    parts = torch.split(torch.from_numpy(noised).to(together), sizes)
    return {name: part.view_as(exact[name]) for name, part in zip(exact, parts, strict=True)}
