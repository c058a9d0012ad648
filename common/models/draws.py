"""Where a model's random numbers come from: latents, and the cells that are drawn from logits.

What a site draws for the rows of a batch must be independent from row to row and unknown to
everybody, so `fedloom.privacy.mechanisms.batches` draws it from a cryptographic source. What is
drawn for synthetic rows is public, and comes from a seed.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

__all__ = ["Draws", "SeededDraws"]


class Draws(Protocol):
    """A stream of random float32 numbers."""

    def normal(self, *shape: int) -> Tensor:
        """Returns independent draws from N(0, 1)."""
        ...

    def uniform(self, *shape: int) -> Tensor:
        """Returns independent draws from [0, 1], either end included or not."""
        ...


class SeededDraws:
    """Draws that anybody repeats who knows the seed; never for the rows of a private batch.

    >>> bool((SeededDraws(1).normal(3) == SeededDraws(1).normal(3)).all())
    True
    """

    def __init__(self, seed: int) -> None:
        """Seeds torch's generator, which keeps 32 bits of the seed."""
        self._generator = torch.Generator().manual_seed(seed)

    def normal(self, *shape: int) -> Tensor:
        """Returns independent draws from N(0, 1)."""
        return torch.randn(shape, generator=self._generator)

    def uniform(self, *shape: int) -> Tensor:
        """Returns independent draws from [0, 1)."""
        return torch.rand(shape, generator=self._generator)
