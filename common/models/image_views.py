"""Views of one image: itself, and copies that are shifted or mirrored at random.

Views of a record are averaged in its loss, before the clip: however many there are, the record
has one gradient of norm at most the clip, and costs what one view costs. Shifts and mirrors are
drawn for each record on its own.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fedloom.common.models.draws import Draws
from fedloom.common.models.image_settings import ImageNetSettings

__all__ = ["views_of"]


def views_of(images: Tensor, settings: ImageNetSettings, draws: Draws) -> list[Tensor]:
    """Returns `settings.views` versions of images; the first is as it came.

    Args:
      images: (B, channels, height, width).
      settings: how many views, and what may be done to them.
      draws: random numbers, a row of them for each image.

    Returns:
      Tensors of the shape of `images`; what is shifted in is as dark as can be.
    """
    views = [images]
    for _ in range(settings.views - 1):
        chance = draws.uniform(len(images), 3)
        shifted = _shifted(images, chance[:, :2], settings.shift)
        views.append(_mirrored(shifted, chance[:, 2:]) if settings.mirror else shifted)
    return views


def _shifted(images: Tensor, chance: Tensor, most: int) -> Tensor:
    steps = 2 * most + 1
    by = (chance * steps).long().clamp(max=steps - 1)
    rows, channels, height, width = images.shape
    wide = torch.nn.functional.pad(images, [most] * 4)
    down = by[:, 0, None] + torch.arange(height)
    along = by[:, 1, None] + torch.arange(width)
    everywhere = torch.arange(rows)[:, None, None, None], torch.arange(channels)[:, None, None]
    return wide[*everywhere, down[:, None, :, None], along[:, None, None, :]]


def _mirrored(images: Tensor, chance: Tensor) -> Tensor:
    return torch.where(chance[:, :, None, None] < 0.5, images.flip(3), images)
