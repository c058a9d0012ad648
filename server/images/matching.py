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

import torch
from torch import Tensor

from fedloom.common.models.moments import MomentReader

__all__ = ["Moments", "matching_loss", "noisy_moments"]

# Of the mean variance of features: keeps those that fakes have alike from counting for all.
_RIDGE = 1e-4


@dataclass(frozen=True)
class Moments:
    """Mean features of each class of records, as rounds have told them.

    Attributes:
      means: (C, count) of coordinates.
      products: (C, p, p) of products of coordinates.
      variances: (C, 1) of the noise in the features.
    """

    means: Tensor
    products: Tensor
    variances: Tensor


def noisy_moments(reader: MomentReader, told: Tensor, shares: Tensor, variance: float) -> Moments:
    """Returns the moments of each class.

    Args:
      reader: what read the images.
      told: (C, width) features of the records of a class, summed, over the number of all records.
      shares: (C,) noisy shares of the classes, > 0.
      variance: of the noise in each number of `told`.
    """
    means, products = reader.parted(told / shares[:, None])
    return Moments(means, products, variance / shares[:, None].square())


def matching_loss(reader: MomentReader, images: Tensor, moments: Moments) -> Tensor:
    """Returns what the best critic tells apart, without bias by the number of fakes.

    Args:
      reader: what read the records.
      images: (C, rows, channels, height, width) fakes of each class less the centre.
      moments: of the records.
    """
    classes, rows = images.shape[:2]
    read = reader.coordinates(images.flatten(0, 1)).reshape(classes, rows, -1)
    low = read[..., : reader.products]
    squares, lows = read.square(), low.square()
    single = _distance(moments.means, read.mean(1), squares.mean(1), moments.variances, rows)
    double = _distance(
        moments.products,
        low.mT @ low / rows,
        lows.mT @ lows / rows,
        moments.variances[:, :, None],
        rows,
    )
    return single + double


def _distance(wanted: Tensor, mean: Tensor, square: Tensor, noise: Tensor, rows: int) -> Tensor:
    """Returns the squared difference of means over variances, fakes' sampling error taken off."""
    variance = (square - mean.square()).clamp(min=0.0) * rows / (rows - 1)
    with torch.no_grad():
        units = variance.mean(0) + noise + _RIDGE * variance.mean()
    return (((wanted - mean).square() - variance / rows) / units).sum()
