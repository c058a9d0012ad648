"""Networks of images: one that reads them by convolutions, one that writes them as frequencies.

Images are read by convolutions of stride two until they are at most four pixels high and wide.
They are written as the lowest frequencies of the public cosine basis, so that few weights have to
be learned under noise whatever the size of an image. No layer mixes the records of a batch, widths
are multiples of 16, and the clip of `fedloom.privacy.clipping` has closed forms for all of them.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from fedloom.common.images.coordinates import Coordinates
from fedloom.common.images.net_sizes import reader_layers
from fedloom.common.images.shape import ImageShape
from fedloom.common.models.decoder import fresh_linear, padded

__all__ = ["DenseNet", "Frequencies", "ImageReader"]


class ImageReader(nn.Module):
    """Convolutions from images (B, channels, height, width) in [0, 1] to (B, `read_width`)."""

    def __init__(self, shape: ImageShape, rng: torch.Generator) -> None:
        """Draws weights that keep the size of what they see."""
        super().__init__()
        self.layers = nn.ModuleList()
        for into, out, kernel in reader_layers(shape):
            layer = nn.utils.skip_init(nn.Conv2d, into, out, kernel, stride=2, padding=kernel // 2)
            with torch.no_grad():
                layer.weight.normal_(0.0, (2.0 / (into * kernel * kernel)) ** 0.5, generator=rng)
                layer.bias.zero_()
            self.layers.append(layer)

    def forward(self, images: Tensor) -> Tensor:
        """Returns what the last layer says, row by row."""
        read = 2.0 * images - 1.0
        for layer in self.layers:
            read = nn.functional.silu(layer(read))
        return read.flatten(1)


class DenseNet(nn.Module):
    """Two hidden layers of tanh; what is beyond the widths is padding."""

    def __init__(
        self, inputs: int, hidden: int, outputs: int, rng: torch.Generator, *, last_std: float
    ) -> None:
        """Draws weights; the last layer's have standard deviation `last_std` over sqrt(hidden)."""
        super().__init__()
        width, hidden = padded(inputs), padded(hidden)
        self.inner = fresh_linear(width, hidden, rng, weight_std=inputs**-0.5)
        self.middle = fresh_linear(hidden, hidden, rng, weight_std=hidden**-0.5)
        self.outer = fresh_linear(hidden, padded(outputs), rng, weight_std=last_std * hidden**-0.5)

    def forward(self, inputs: Tensor) -> Tensor:
        """Returns the last layer (B, padded outputs) from padded inputs."""
        hidden = torch.tanh(self.middle(torch.tanh(self.inner(inputs))))
        out: Tensor = self.outer(hidden)
        return out


class Frequencies:
    """The public basis as tensors: from padded coordinates to flat images, and back."""

    def __init__(self, shape: ImageShape, detail: int) -> None:
        """Takes the lowest `detail` frequencies, or as many as there are."""
        coordinates = Coordinates(shape, detail)
        self.count, self.values = coordinates.count, shape.num_values
        images = coordinates.images(np.eye(coordinates.count)).reshape(self.count, -1)
        basis = np.zeros((padded(self.count), padded(self.values)), dtype=np.float32)
        basis[: self.count, : self.values] = images
        self._basis = torch.from_numpy(basis)

    def images(self, coordinates: Tensor) -> Tensor:
        """Returns (B, height * width * channels) of padded coordinates, channels last."""
        written: Tensor = coordinates @ self._basis.to(coordinates.device)
        return written[:, : self.values]
