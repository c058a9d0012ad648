"""Images from a generator in training: what a critic is shown, and what a generator learns by.

A fake is an image of the base, the mixture of the sums or the coarse mean of its class, and what
the network adds to it. No record is needed for one, so they are free.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fedloom.common.images.coder import ImageCoder
from fedloom.common.images.coordinates import Coordinates
from fedloom.common.images.corrected import network_inputs
from fedloom.common.images.generator import ImageGenerator
from fedloom.common.images.generator_nets import sizes_of
from fedloom.common.models.decoder import class_rows
from fedloom.common.models.generator_nets import generator_net, shades_added
from fedloom.common.models.image_networks import Frequencies
from fedloom.common.models.image_settings import ImageGanSettings

__all__ = ["Base", "Drawn", "FakeSource"]

# Beyond black and white a value still has this part of its slope, or it could not come back.
_LEAK = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """What the network of a generator adds to.

    Attributes:
      images: draws images of given classes.
      centre: (channels, height, width) what critics see images about.
    """

    images: ImageGenerator
    centre: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """Fakes.

    Attributes:
      images: (N, channels, height, width) less the centre.
      classes: (N, C) one-hot rows.
      latents: (N, latent).
    """

    images: Tensor
    classes: Tensor
    latents: Tensor


class FakeSource:
    """Draws the fakes of a study's generator, whose weights change from turn to turn."""

    def __init__(self, settings: ImageGanSettings, coder: ImageCoder) -> None:
        """Takes the plan's model."""
        self.sizes = sizes_of(settings, coder)
        self._coordinates = Coordinates(coder.shape, self.sizes.detail)
        self._frequencies = Frequencies(coder.shape, self.sizes.detail)

    def network(self, seed: int = 0, *, last_std: float = 0.0) -> nn.Module:
        """Returns a network with fresh weights; see `generator_net`."""
        rng = torch.Generator().manual_seed(seed)
        return generator_net(self.sizes, rng, last_std=last_std)

    def base(self, arrays: Mapping[str, NDArray[Any]], centre: NDArray[Any]) -> Base:
        """Returns what the network adds to, from the arrays of a mixture and the centre."""
        images = ImageGenerator(self.sizes.shape, dict(arrays))
        return Base(images=images, centre=torch.from_numpy(np.array(centre)))

    def drawn(
        self,
        net: nn.Module,
        base: Base,
        classes: NDArray[np.int64],
        rng: np.random.Generator,
        shown: Tensor | None = None,
    ) -> Drawn:
        """Returns a fake of each class given; gradients lead to the network's weights.

        Args:
          net: as of `network`.
          base: what it adds to.
          classes: (N,).
          rng: of base images and latents.
          shown: what is left of each frequency of what is added; None: all of it.
        """
        sizes = self.sizes
        images = base.images.shades(classes, rng)
        latents = rng.standard_normal((len(classes), sizes.latent))
        seen = network_inputs(images, latents, classes, sizes.classes, self._coordinates)
        flat = shades_added(net, torch.from_numpy(seen).float(), self._frequencies)
        added = flat.reshape(images.shape).permute(0, 3, 1, 2)
        if shown is not None:
            added = self._frequencies.kept(added, shown)
        values = torch.from_numpy(images).float().permute(0, 3, 1, 2) + added
        clipped = values.clamp(0.0, 1.0)
        leaking = clipped + _LEAK * (values - values.detach())
        leaking = torch.where((values < 0.0) | (values > 1.0), leaking, clipped)
        return Drawn(
            images=leaking.contiguous() - base.centre,
            classes=class_rows(classes, sizes.classes),
            latents=torch.from_numpy(latents).float(),
        )
