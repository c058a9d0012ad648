"""The best critic that is linear in moments, in closed form, and what a generator loses to it.

Of all critics that are linear in features whose spread is bounded, the best is the difference of
the means of records and of fakes, feature by feature over its variance. What it tells apart is
the squared difference of the means in these units. Where noise hides a mean, its variance is added
to that of the feature, so a generator follows what rounds have told and not their noise.

All of it is post-processing: means of records come from noised gradients, the rest from fakes.

Source: Mroueh & Sercu 2017 (arXiv:1705.09675), critics whose second moments are bounded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from fedloom.common.models.moments import DIRECTIONS, EDGES, RADIUS, MomentReader

__all__ = ["Moments", "frame_of", "matching_loss", "noisy_moments"]

# Of the mean variance of features: keeps those that fakes have alike from counting for all.
_RIDGE = 1e-4


@dataclass(frozen=True)
class Moments:
    """Mean features of each class of records in one reading, as rounds have told them.

    Attributes:
      means: (C, count) of its numbers.
      products: (C, p, p) of products of its leading numbers.
      mean_noise: (C, 1) variances of the noise in the means.
      product_noise: (C, p, p) of that in the products.
    """

    means: Tensor
    products: Tensor
    mean_noise: Tensor
    product_noise: Tensor


def frame_of(reader: MomentReader, images: Tensor, room: float) -> dict[str, NDArray[Any]]:
    """Returns what edges are read about: their mean, radius and directions in images of no record.

    Args:
      reader: that knows its centre.
      images: (N, channels, height, width) less the centre.
      room: the radius, in roots of the mean square of how far these images lie from their mean.
    """
    with torch.no_grad():
        edges = torch.cat([reader.edges(part) for part in images.split(500)]).double()
    mean = edges.mean(0)
    apart = edges - mean
    radius = room * apart.square().sum(1).mean().sqrt()
    _, directions = torch.linalg.eigh(apart.mT @ apart)
    found = {
        EDGES: mean,
        # Images that are all alike have no spread to measure by.
        RADIUS: radius.clamp(min=1e-3)[None],
        DIRECTIONS: directions.flip(1)[:, : reader.widths[1][1]].contiguous(),
    }
    return {name: value.float().numpy() for name, value in found.items()}


def noisy_moments(
    reader: MomentReader, told: Tensor, shares: Tensor, variance: float
) -> list[Moments]:
    """Returns the moments of each class, of each reading.

    Args:
      reader: what read the images.
      told: (C, width) features of the records of a class, summed, over the number of all records.
      shares: (C,) noisy shares of the classes, > 0.
      variance: of the noise in each number of `told`.
    """
    of_class = shares[:, None]
    return [Moments(*parts) for parts in reader.parted(told / of_class, variance / of_class**2)]


def matching_loss(reader: MomentReader, images: Tensor, moments: list[Moments]) -> Tensor:
    """Returns what the best critic tells apart, without bias by the number of fakes.

    Args:
      reader: what read the records.
      images: (C, rows, channels, height, width) fakes of each class less the centre.
      moments: of the records.
    """
    classes, rows = images.shape[:2]
    lost = images.new_zeros(())
    for reading, wanted in zip(reader.readings(images.flatten(0, 1)), moments, strict=True):
        values = reading.values.reshape(classes, rows, -1)
        leading = reading.leading.reshape(classes, rows, -1)
        squares = leading.square()
        lost = lost + _distance(
            wanted.means, values.mean(1), values.square().mean(1), wanted.mean_noise, rows
        )
        lost = lost + _distance(
            wanted.products,
            leading.mT @ leading / rows,
            squares.mT @ squares / rows,
            wanted.product_noise,
            rows,
        )
    return lost


def _distance(wanted: Tensor, mean: Tensor, square: Tensor, noise: Tensor, rows: int) -> Tensor:
    """Returns the squared difference of means over variances, fakes' sampling error taken off."""
    variance = (square - mean.square()).clamp(min=0.0) * rows / (rows - 1)
    with torch.no_grad():
        units = variance.mean(0) + noise + _RIDGE * variance.mean()
    return (((wanted - mean).square() - variance / rows) / units).sum()
