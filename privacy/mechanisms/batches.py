"""Poisson-sampled batches of coded records, and noise on a step's tensors.

Both training mechanisms use these, and draw from the source in the same order: the batch, its
order, latents and fakes, the noise.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fedloom.common.models.draws import Draws
from fedloom.privacy.clipping.units import MAX_ROWS
from fedloom.privacy.noise import NoiseSource, round_to_grid

__all__ = [
    "BatchModel",
    "PoissonBatch",
    "check_sample_rate",
    "noised_tensors",
    "one_thread",
    "poisson_batch",
]

_ROWS = 256
_PART = 12288


class BatchModel(Protocol):
    """What a mechanism needs of a model: batches of records, and one loss per record."""

    def make_batch(
        self,
        features: NDArray[Any],
        classes: NDArray[np.int64],
        public: Mapping[str, NDArray[np.float32]],
        draws: Draws,
    ) -> dict[str, Tensor]:
        """Turns B coded records, possibly none, into tensors of first dimension B."""
        ...

    def loss(self, module: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
        """Returns one number per record, shape (B,), that depends on no other record."""
        ...


@dataclass(frozen=True, slots=True)
class PoissonBatch:
    """A batch: its tensors, and the person of each row (None where every row is a unit).

    Units are in random order, the rows of a person together.
    """

    tensors: dict[str, Tensor]
    persons: Tensor | None


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
    features: NDArray[Any],
    classes: NDArray[np.int64],
    public: Mapping[str, NDArray[np.float32]],
    *,
    sample_rate: float,
    noise: NoiseSource,
    device: torch.device,
    persons: NDArray[np.int64] | None = None,
) -> PoissonBatch:
    """Draws one batch of units; latents and fakes come fresh with it.

    They come from the source too, independently for each row: then it does not matter which row
    has which, and what a unit adds is its own gradient at its own draw whoever else is there. A
    seeded generator would not do: whoever guessed its seed would know which latent each place in
    the batch has, and a unit that is removed would move others to other places.

    The model is always asked for `_ROWS` records, some of them fillers of zeros that are cut
    off again: a fake is rounded by kernels too, and must not change with the size of a batch.

    Args:
      model: Makes the tensors.
      features: (N, ...) coded records (private).
      classes: (N,) classes of all records (private).
      public: The round's public arrays.
      sample_rate: Probability in [0, 1] of each unit.
      noise: The source of coins.
      device: Where the tensors go.
      persons: (N,) the unit of each record, one coin for all its rows; None if records are units.
        Rows of one person beyond the hundredth are left out.
    """
    if persons is None:
        chosen = noise.poisson_sample(len(classes), sample_rate)
        chosen = chosen[noise.permutation(len(chosen))]
    else:
        chosen = _rows_of_persons(persons, sample_rate, noise)
    draws = _SecretDraws(noise)
    parts = []
    for start in range(0, max(len(chosen), 1), _ROWS):
        of_part = chosen[start : start + _ROWS]
        rows = np.zeros((_ROWS, *features.shape[1:]), dtype=features.dtype)
        labels = np.zeros(_ROWS, dtype=classes.dtype)
        rows[: len(of_part)], labels[: len(of_part)] = features[of_part], classes[of_part]
        made = model.make_batch(rows, labels, public, draws)
        parts.append({name: value[: len(of_part)] for name, value in made.items()})
    tensors = {name: torch.cat([part[name] for part in parts]).to(device) for name in parts[0]}
    owners = None if persons is None else torch.from_numpy(persons[chosen]).to(device)
    return PoissonBatch(tensors, owners)


class _SecretDraws:
    """Latents and fakes from the source of the noise; see `fedloom.common.models.draws`."""

    def __init__(self, noise: NoiseSource) -> None:
        self._noise = noise

    def normal(self, *shape: int) -> Tensor:
        return torch.from_numpy(self._noise.normal(shape, 1.0).astype(np.float32))

    def uniform(self, *shape: int) -> Tensor:
        drawn = self._noise.uniform(math.prod(shape)).astype(np.float32)
        return torch.from_numpy(drawn).reshape(shape)


def _rows_of_persons(
    persons: NDArray[np.int64], sample_rate: float, noise: NoiseSource
) -> NDArray[np.int64]:
    """Returns the rows of a Poisson sample of persons, person by person, in a secret order."""
    by_person = np.argsort(persons, kind="stable")
    if len(persons):
        places = noise.permutation(int(persons.max()) + 1)[persons]
        by_person = np.argsort(places, kind="stable")
    grouped = persons[by_person]
    first = np.flatnonzero(np.diff(grouped, prepend=grouped[:1] - 1))
    number = np.zeros(len(grouped), dtype=np.int64)
    number[first[1:]] = 1
    number = np.cumsum(number)
    sampled = np.zeros(len(first), dtype=bool)
    sampled[noise.poisson_sample(len(first), sample_rate)] = True
    place = np.arange(len(grouped)) - first[number]
    kept = sampled[number] & (place < MAX_ROWS)
    rows: NDArray[np.int64] = by_person[kept]
    return rows


def noised_tensors(
    exact: Mapping[str, Tensor], normals: NDArray[np.float64], std: float
) -> dict[str, Tensor]:
    """Adds noise to every coordinate, and rounds to the grid of its standard deviation.

    Args:
      exact: Clipped sums, float64 on one device (private).
      normals: Draws from N(0, std^2), one for each coordinate in the order of `exact`.
      std: Standard deviation.
    """
    together = torch.cat([value.detach().reshape(-1) for value in exact.values()])
    noised = together.cpu().numpy()
    # Part by part: what stays in the cache is noised three times faster.
    for start in range(0, noised.size, _PART):
        part = noised[start : start + _PART]
        part += normals[start : start + _PART]
        round_to_grid(part, std)
    parts = torch.split(
        torch.from_numpy(noised).to(together), [value.numel() for value in exact.values()]
    )
    return {name: part.view_as(exact[name]) for name, part in zip(exact, parts, strict=True)}
