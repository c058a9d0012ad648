"""What a critic that is linear in public features reads of an image: moments of two readings.

One reading is the image's low frequencies, the other which way its edges and lines run
(`fedloom.common.models.orientations`). Of each the features are its numbers and the products of
its leading ones, so their means over a class are means and second moments. They have no weights.
A reading that is longer than 1 is brought to that length, so the length of all features is at most
1 whatever an image holds, and a clip of 1 never bites: fakes and records are read alike.

The gradient of such a critic's mean score is the mean of the features, whatever its weights are. So
the gradients of all rounds tell the same thing: one round of all records tells most.

Edges are read about a public mean, in units of a public radius, and along public directions
(`ReadingFrame`): what images without records show, so that the clip is spent on what these do not
tell. A request carries the frame; whatever it holds, a record's gradient is clipped.

Source: Mroueh, Sercu & Goel 2017 (arXiv:1702.08398), critics that match means and covariances.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fedloom.common.images.net_sizes import moments_widths
from fedloom.common.images.shape import ImageShape
from fedloom.common.models.decoder import joined
from fedloom.common.models.image_model import CENTRE
from fedloom.common.models.image_networks import Frequencies
from fedloom.common.models.orientations import Orientations
from fedloom.common.models.private_model import PUBLIC

__all__ = ["DIRECTIONS", "EDGES", "RADIUS", "MomentReader", "Reading"]

EDGES, DIRECTIONS, RADIUS = PUBLIC + "edges", PUBLIC + "directions", PUBLIC + "radius"
"""The mean of readings of edges (E,), their leading directions (E, D), and their radius (1,)."""

# Root mean square of the values off the centre of an image whose coordinates have length 1.
_CONTRAST = 0.3
# Of the squared length of all features, at most: numbers and products of frequencies, of edges.
_PARTS = ((0.35, 0.25), (0.2, 0.2))


@dataclass(frozen=True)
class Reading:
    """Numbers of images, each row at most 1 long.

    Attributes:
      values: (B, count).
      leading: (B, p) those whose products are read.
    """

    values: Tensor
    leading: Tensor


class MomentReader(nn.Module):
    """Reads images less their centre."""

    def __init__(self, shape: ImageShape, detail: int) -> None:
        """Takes the lowest `detail` frequencies, or as many as there are."""
        super().__init__()
        self._frequencies, self._orientations = Frequencies(shape, detail), Orientations(shape)
        self._scale = 1.0 / (_CONTRAST * shape.num_values**0.5)
        self.widths = moments_widths(shape, detail)
        self._pairs = [torch.triu_indices(products, products) for _, products in self.widths]
        count, products = self.widths[1]
        self._centre = torch.zeros(shape.channels, shape.height, shape.width)
        self._edges, self._unit = torch.zeros(count), torch.ones(1)
        self._directions = torch.eye(count, products)

    def see_about(self, centre: NDArray[Any]) -> None:
        """Takes the centre that images come less of, (channels, height, width)."""
        self._centre = torch.from_numpy(np.array(centre, dtype=np.float32))

    def frame(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Takes what edges are read about, from the public arrays of a request."""
        self.see_about(arrays[CENTRE])
        self._edges, self._directions, radius = (
            torch.from_numpy(np.array(arrays[name], dtype=np.float32))
            for name in (EDGES, DIRECTIONS, RADIUS)
        )
        # A plan's first request is checked for shapes and nothing else.
        self._unit = 1.0 / radius.clamp(min=1e-6)

    def edges(self, images: Tensor) -> Tensor:
        """Returns which way edges of images less their centre run, (B, E), about nothing."""
        return self._orientations.of(images + self._centre.to(images))

    def readings(self, images: Tensor) -> list[Reading]:
        """Returns the readings of frequencies and of edges."""
        count, products = self.widths[0]
        shades = _bounded(self._scale * self._frequencies.of(images)[:, :count])
        edges = self.edges(images) - self._edges.to(images)
        edges = _bounded(edges * self._unit.to(images))
        leading = edges @ self._directions.to(images)
        return [Reading(shades, shades[:, :products]), Reading(edges, leading)]

    def forward(self, images: Tensor) -> Tensor:
        """Returns features (B, padded width), each row at most 1 long."""
        found = []
        for reading, (first, second), parts in zip(
            self.readings(images), self._pairs, _PARTS, strict=True
        ):
            leading = reading.leading
            products = leading[:, first] * leading[:, second] * _twice(first, second).to(images)
            found += [parts[0] ** 0.5 * reading.values, parts[1] ** 0.5 * products]
        return joined(*found)

    def parted(self, features: Tensor, variance: Tensor) -> list[tuple[Tensor, ...]]:
        """Takes mean features apart.

        Args:
          features: (C, width or more) means over the records of a class.
          variance: (C, 1) of the noise in each number of them.

        Returns:
          Of each reading its means (C, count), its second moments (C, p, p), and the variances of
          noise in them, (C, 1) and (C, p, p).
        """
        found: list[tuple[Tensor, ...]] = []
        start = 0
        for (count, width), (first, second), parts in zip(
            self.widths, self._pairs, _PARTS, strict=True
        ):
            middle, end = start + count, start + count + len(first)
            twice = _twice(first, second).to(features)
            products = features.new_zeros(len(features), width, width)
            noise = torch.zeros_like(products)
            for one, other in ((first, second), (second, first)):
                products[:, one, other] = features[:, middle:end] / (twice * parts[1] ** 0.5)
                noise[:, one, other] = variance / (twice.square() * parts[1])
            means = features[:, start:middle] / parts[0] ** 0.5
            found.append((means, products, variance / parts[0], noise))
            start = end
        return found


def _bounded(told: Tensor) -> Tensor:
    bounded: Tensor = told / told.square().sum(1, keepdim=True).clamp(min=1.0).sqrt()
    return bounded


def _twice(first: Tensor, second: Tensor) -> Tensor:
    # Beside the diagonal a product stands for two entries of the matrix.
    return torch.where(first == second, 1.0, 2.0**0.5)
