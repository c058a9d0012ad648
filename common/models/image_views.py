"""Views of one image: itself, and copies that are shifted, turned, mirrored or noised at random.

Views of a record are averaged in its loss, before the clip: however many there are, the record
has one gradient of norm at most the clip, and costs what one view costs. What is done to a view is
drawn for each record on its own.
"""

from __future__ import annotations

import math

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
      Tensors of the shape of `images`; what comes in from beyond an edge is as dark as can be.
    """
    views = [images]
    for _ in range(settings.views - 1):
        chance = draws.uniform(len(images), 4)
        view = _shifted(images, chance[:, :2], settings.shift)
        if settings.mirror:
            view = _mirrored(view, chance[:, 2:3])
        if settings.rotation:
            view = _turned(view, (2.0 * chance[:, 3] - 1.0) * math.radians(settings.rotation))
        if settings.noise:
            added = draws.normal(len(images), images[0].numel()).reshape(images.shape)
            view = (view + settings.noise * added).clamp(0.0, 1.0)
        views.append(view)
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


def _turned(images: Tensor, angles: Tensor) -> Tensor:
    """Turns each image about its middle by an angle in radians; values are mixed linearly."""
    height, width = images.shape[2:]
    cosine, sine, none = angles.cos(), angles.sin(), torch.zeros_like(angles)
    # Places are told in halves of the height and of the width, which need not be alike.
    along = torch.stack([cosine, -sine * height / width, none], dim=1)
    down = torch.stack([sine * width / height, cosine, none], dim=1)
    turns = torch.stack([along, down], dim=1).to(images)
    places = torch.nn.functional.affine_grid(turns, list(images.shape), align_corners=False)
    return torch.nn.functional.grid_sample(images, places, align_corners=False)
