"""Networks of images: two that read them, and one that writes them as frequencies.

Images are written as the lowest frequencies of the public cosine basis, so that few weights have
to be learned under noise whatever the size of an image. They are read from the same frequencies by
one dense layer or two, or by convolutions of stride two until they are at most four pixels high
and wide. No layer mixes the records of a batch, widths are multiples of 16, and the clip of
`fedloom.privacy.clipping` has closed forms for all of them.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from fedloom.common.images.coordinates import Coordinates
from fedloom.common.images.net_sizes import reader_layers
from fedloom.common.images.shape import ImageShape
from fedloom.common.models.decoder import fresh_linear, joined, padded
from fedloom.common.models.image_settings import ImageNetSettings
from fedloom.common.vocabulary import Reading

__all__ = [
    "ConvolutionReader",
    "DeepReader",
    "DenseNet",
    "Frequencies",
    "FrequencyReader",
    "reader_of",
]

# Length of what dense layers see of an image whose every value is 1 off the centre.
_LENGTH = 24.0
_SLOPE = 0.2
_FIRST_STD = 0.3


def reader_of(
    settings: ImageNetSettings, shape: ImageShape, rng: torch.Generator, *, deep: bool
) -> nn.Module:
    """Returns what reads images less their centre, (B, channels, height, width).

    Its output has `fedloom.common.images.net_sizes.read_width` numbers a row.

    Args:
      settings: how images are read, and the widths.
      shape: of the images.
      rng: of the weights.
      deep: whether frequencies go through two layers, as a critic needs, or through one.
    """
    if settings.reading is Reading.CONVOLUTIONS:
        return ConvolutionReader(shape, rng)
    reader = DeepReader if deep else FrequencyReader
    return reader(shape, settings.detail, settings.reading_hidden, rng)


class FrequencyReader(nn.Module):
    """A dense layer of tanh that sees the lowest frequencies of an image."""

    def __init__(self, shape: ImageShape, detail: int, hidden: int, rng: torch.Generator) -> None:
        """Draws weights that keep the size of what they see."""
        super().__init__()
        self._frequencies = Frequencies(shape, detail)
        self._scale = _LENGTH / shape.num_values**0.5
        inputs, width = padded(self._frequencies.count), padded(hidden)
        self.inner = fresh_linear(inputs, width, rng, weight_std=_FIRST_STD)

    def forward(self, images: Tensor) -> Tensor:
        """Returns what the last layer says, row by row."""
        return torch.tanh(self._seen(images))

    def _seen(self, images: Tensor) -> Tensor:
        seen: Tensor = self.inner(self._scale * self._frequencies.of(images))
        return seen


class DeepReader(FrequencyReader):
    """Two dense layers, leaky where they are negative."""

    def __init__(self, shape: ImageShape, detail: int, hidden: int, rng: torch.Generator) -> None:
        """Draws weights that keep the size of what they see."""
        super().__init__(shape, detail, hidden, rng)
        width = padded(hidden)
        self.middle = fresh_linear(width, width, rng, weight_std=(2.0 / width) ** 0.5)

    def forward(self, images: Tensor) -> Tensor:
        """Returns what the last layer says, row by row."""
        read = nn.functional.leaky_relu(self._seen(images), _SLOPE)
        return nn.functional.leaky_relu(self.middle(read), _SLOPE)


class ConvolutionReader(nn.Module):
    """Convolutions of stride two."""

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
        read = 2.0 * images
        for layer in self.layers:
            read = nn.functional.silu(layer(read))
        return read.flatten(1)


class DenseNet(nn.Module):
    """Two hidden layers of tanh or more; what is beyond the widths is padding."""

    def __init__(
        self,
        inputs: int,
        hidden: int,
        outputs: int,
        rng: torch.Generator,
        *,
        last_std: float,
        latent: int,
        classes: int,
        depth: int = 2,
    ) -> None:
        """Draws weights.

        Args:
          inputs: what it sees; the last `latent + classes` of them are the latent and the class.
          hidden: width of the hidden layers.
          outputs: what it writes.
          rng: of the weights.
          last_std: standard deviation of the last layer's weights, times sqrt(hidden).
          latent: its dimensions; they weigh the same at first, whatever else is seen.
          classes: how many; one of these inputs is 1, so it weighs as much as the whole latent.
          depth: hidden layers, 2 at least.
        """
        super().__init__()
        width, hidden = padded(inputs), padded(hidden)
        self.inner = fresh_linear(width, hidden, rng, weight_std=inputs**-0.5)
        named = inputs - classes
        with torch.no_grad():
            drawn = self.inner.weight[:, named - latent : named]
            drawn.normal_(0.0, (latent + classes) ** -0.5, generator=rng)
            self.inner.weight[:, named:inputs].normal_(0.0, 1.0, generator=rng)
        self.middle = fresh_linear(hidden, hidden, rng, weight_std=hidden**-0.5)
        self.further = nn.ModuleList(
            fresh_linear(hidden, hidden, rng, weight_std=hidden**-0.5) for _ in range(depth - 2)
        )
        self.outer = fresh_linear(hidden, padded(outputs), rng, weight_std=last_std * hidden**-0.5)

    def forward(self, inputs: Tensor) -> Tensor:
        """Returns the last layer (B, padded outputs) from padded inputs."""
        hidden = torch.tanh(self.middle(torch.tanh(self.inner(inputs))))
        for layer in self.further:
            hidden = torch.tanh(layer(hidden))
        out: Tensor = self.outer(hidden)
        return out


class Frequencies:
    """The public basis as tensors: from padded coordinates to flat images, and back."""

    def __init__(self, shape: ImageShape, detail: int) -> None:
        """Takes the lowest `detail` frequencies, or as many as there are."""
        coordinates = Coordinates(shape, detail)
        self.count, self.values, self._shape = coordinates.count, shape.num_values, shape
        images = coordinates.images(np.eye(coordinates.count)).reshape(self.count, -1)
        basis = np.zeros((padded(self.count), padded(self.values)), dtype=np.float32)
        basis[: self.count, : self.values] = images
        self._basis = torch.from_numpy(basis)

    def of(self, images: Tensor) -> Tensor:
        """Returns the padded coordinates of images (B, channels, height, width)."""
        flat = images.permute(0, 2, 3, 1).flatten(1)
        return joined(flat) @ self._basis.to(flat).T

    def images(self, coordinates: Tensor) -> Tensor:
        """Returns (B, height * width * channels) of padded coordinates, channels last."""
        written: Tensor = coordinates @ self._basis.to(coordinates)
        return written[:, : self.values]

    def kept(self, images: Tensor, shares: Tensor) -> Tensor:
        """Returns images (B, channels, height, width) with some frequencies alone.

        Args:
          images: as of `of`.
          shares: (padded count,) or (B, padded count), what is left of each frequency.
        """
        shape, flat = self._shape, self.images(self.of(images) * shares)
        return flat.reshape(-1, shape.height, shape.width, shape.channels).permute(0, 3, 1, 2)
