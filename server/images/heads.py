"""Heads that read fakes: their class, and codes of their latent. No site sees them.

A generator that loses by what the heads cannot tell draws images whose class can be told, and
whose latent can: classes and latents that come out alike are what it falls into else. Heads and
generator lower the same loss. For codes it is a bound on the mutual information of codes and
image, under a Gaussian of variance 1, up to a constant.

Heads learn from fakes, and before the first round the one of classes from images of the mixture
where the sums give one. Neither is a record, so heads cost no budget.

Sources: Odena, Olah & Shlens 2017 (arXiv:1610.09585) for the class, here from fakes alone; Chen et
al. 2016 (arXiv:1606.03657) for codes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fedloom.common.images.shape import ImageShape
from fedloom.common.models.decoder import fresh_linear, padded
from fedloom.common.models.image_networks import DeepReader
from fedloom.common.models.image_settings import ImageGanSettings
from fedloom.server.images.fakes import Drawn

__all__ = ["FakeHeads"]


class FakeHeads(nn.Module):
    """One network that reads images less their centre, and two heads on what it says."""

    def __init__(
        self, settings: ImageGanSettings, shape: ImageShape, classes: int, rng: torch.Generator
    ) -> None:
        """Draws weights; at first heads say the same of every image."""
        super().__init__()
        width, hidden = padded(settings.reading_hidden), settings.reading_hidden
        self._class_weight, self._code_weight = settings.class_weight, settings.code_weight
        self.reader = DeepReader(shape, settings.detail, hidden, rng)
        self.classes = fresh_linear(width, classes, rng, weight_std=0.0)
        # Without a weight nobody asked for codes, and the latent may have fewer numbers.
        count = settings.codes if settings.code_weight else 1
        self.codes = fresh_linear(width, count, rng, weight_std=0.0)

    def loss(self, drawn: Drawn) -> Tensor:
        """Returns what cannot be told of fakes, weighted, one number."""
        read = self.reader(drawn.images)
        told = nn.functional.cross_entropy(self.classes(read), drawn.classes)
        codes = self.codes(read)
        missed = 0.5 * (codes - drawn.latents[:, : codes.shape[1]]).square().sum(1).mean()
        lost: Tensor = self._class_weight * told + self._code_weight * missed
        return lost
