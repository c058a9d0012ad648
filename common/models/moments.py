"""What a critic that is linear in public features reads of an image: moments of its frequencies.

The features of an image are its low frequencies and the products of the lowest of them, so their
mean over a class is its mean image and its second moments. They have no weights. An image that is
further from the centre than `_CONTRAST` is brought to that distance, so the length of its features
is at most 1 whatever it holds, and a clip of 1 never bites: fakes and records are read alike.

The gradient of such a critic's mean score is the mean of the features, whatever its weights are. So
the gradients of all rounds tell the same thing and can be averaged.

Source: Mroueh, Sercu & Goel 2017 (arXiv:1702.08398), critics that match means and covariances.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fedloom.common.images.net_sizes import moments_width, multiplied
from fedloom.common.images.shape import ImageShape
from fedloom.common.models.decoder import joined
from fedloom.common.models.image_networks import Frequencies

__all__ = ["MomentReader"]

# Root mean square of the values off the centre of an image whose coordinates have length 1.
_CONTRAST = 0.3
# Of the squared length, at most: coordinates and products of an image of length 1.
_SINGLE, _PRODUCTS = 0.7, 0.3


class MomentReader(nn.Module):
    """Low frequencies of an image less its centre, and products of the lowest of them."""

    def __init__(self, shape: ImageShape, detail: int) -> None:
        """Takes the lowest `detail` frequencies, or as many as there are."""
        super().__init__()
        self._frequencies = Frequencies(shape, detail)
        self._scale = 1.0 / (_CONTRAST * shape.num_values**0.5)
        self.count, self.products = self._frequencies.count, multiplied(shape, detail)
        self._width = moments_width(shape, detail)
        self._pairs = torch.triu_indices(self.products, self.products)
        # Beside the diagonal a product stands for two entries of the matrix.
        alike = self._pairs[0] == self._pairs[1]
        self._weights = torch.where(alike, 1.0, 2.0**0.5) * _PRODUCTS**0.5

    def coordinates(self, images: Tensor) -> Tensor:
        """Returns coordinates (B, count), each row at most 1 long."""
        told = self._scale * self._frequencies.of(images)[:, : self.count]
        lengths = told.square().sum(1, keepdim=True).sqrt()
        bounded: Tensor = told / lengths.clamp(min=1.0)
        return bounded

    def forward(self, images: Tensor) -> Tensor:
        """Returns features (B, padded width), each row at most 1 long."""
        told = self.coordinates(images)
        first, second = self._pairs.to(told.device)
        products = told[:, first] * told[:, second] * self._weights.to(told)
        return joined(_SINGLE**0.5 * told, products)

    def parted(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Returns mean coordinates (C, count) and products (C, p, p) of mean features."""
        products = features[:, self.count : self._width] / self._weights.to(features)
        first, second = self._pairs.to(features.device)
        matrix = features.new_zeros(len(features), self.products, self.products)
        matrix[:, first, second] = products
        matrix[:, second, first] = products
        return features[:, : self.count] / _SINGLE**0.5, matrix
