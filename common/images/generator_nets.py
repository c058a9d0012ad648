"""The network that adds to the images of an `image-gan`; NumPy alone, in double precision.

It sees a base image's coordinates in the public cosine basis, a latent of normal numbers and the
class. `plain`: two hidden layers of tanh see all of that and write coordinates. `modulated`: the
layers see the coordinates; latent and class scale and shift each layer's numbers once these have
mean 0 and variance 1 within the record. `convolutions`: two hidden layers write a coarse grid of
channels, which is doubled and convolved until it has the image's size, and the last convolution
writes pixels. `fedloom.common.models.generator_nets` holds the same in single precision.

Sources: Perez et al. 2018 (arXiv:1709.07871) for features scaled and shifted by a condition;
Karras et al. 2019 (arXiv:1812.04948) for a generator that takes its latent so; Odena et al. 2016
(doi:10.23915/distill.00003) for doubling before a convolution, instead of transposed convolutions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fedloom.common.images.coordinates import Coordinates
from fedloom.common.images.net_sizes import corrector_inputs, dense_shapes
from fedloom.common.images.shape import ImageShape
from fedloom.common.images.written import dense
from fedloom.common.vocabulary import Generation

if TYPE_CHECKING:
    from fedloom.common.images.coder import ImageCoder
    from fedloom.common.models.image_settings import ImageGanSettings

__all__ = [
    "SLOPE",
    "STEADY",
    "GeneratorSizes",
    "generator_parameters",
    "images_added",
    "net_shapes",
    "sizes_of",
]

Array = NDArray[Any]

SLOPE = 0.2
"""Of convolutions, where their numbers are negative."""
STEADY = 1e-5
"""Added to the variance of a layer's numbers."""
_GRID, _GRID_CHANNELS, _CHANNELS, _KERNEL = 7, 32, 16, 3
# Images that convolutions hold at a time, which bounds memory.
_ROWS = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorSizes:
    """What tells all layers of a network.

    Attributes:
      generator: its kind.
      shape: of images.
      classes: how many.
      detail: frequencies that it sees, and writes where it writes frequencies.
      hidden: width of its hidden layers.
      latent: dimensions of the latent.
    """

    generator: Generation
    shape: ImageShape
    classes: int
    detail: int
    hidden: int
    latent: int

    @property
    def inputs(self) -> int:
        """Numbers that it sees."""
        return corrector_inputs(self.detail, self.latent, self.classes)

    @property
    def style(self) -> int:
        """Numbers of latent and class."""
        return self.latent + self.classes

    @property
    def grids(self) -> list[tuple[int, int]]:
        """Height and width of the coarse grid and of each that follows; the last covers an image.

        >>> shape = ImageShape(height=28, width=20, channels=1)
        >>> GeneratorSizes(generator=Generation.CONVOLUTIONS, shape=shape, classes=2, detail=9,
        ...                hidden=8, latent=2).grids
        [(7, 5), (14, 10), (28, 20)]
        """
        doublings = 0
        while -(-max(self.shape.height, self.shape.width) // 2**doublings) > _GRID:
            doublings += 1
        height, width = (-(-size // 2**doublings) for size in (self.shape.height, self.shape.width))
        return [(height * 2**number, width * 2**number) for number in range(doublings + 1)]

    @property
    def channels(self) -> list[int]:
        """Channels of each grid."""
        return [_GRID_CHANNELS, *(_CHANNELS for _ in self.grids[1:])]


def sizes_of(settings: ImageGanSettings, coder: ImageCoder) -> GeneratorSizes:
    """Returns the sizes of a study's generator."""
    return GeneratorSizes(
        generator=settings.generator,
        shape=coder.shape,
        classes=coder.encoding.num_classes,
        detail=min(settings.detail, coder.shape.num_values),
        hidden=settings.hidden,
        latent=settings.latent,
    )


def generator_parameters(settings: ImageGanSettings, coder: ImageCoder) -> int:
    """Returns the number of weights of the generator of an `image-gan`."""
    return sum(prod(shape) for shape in net_shapes(sizes_of(settings, coder)).values())


def net_shapes(sizes: GeneratorSizes) -> dict[str, tuple[int, ...]]:
    """Returns the names and shapes of the weights."""
    if sizes.generator is Generation.PLAIN:
        return dense_shapes(sizes.inputs, sizes.hidden, sizes.detail)
    if sizes.generator is Generation.MODULATED:
        dense = dense_shapes(sizes.detail, sizes.hidden, sizes.detail)
        style = dense_shapes(sizes.style, sizes.hidden, sizes.detail)["inner.weight"]
        of_layer = {"weight": (2 * style[0], style[1]), "bias": (2 * style[0],)}
        styles = [f"{layer}_style" for layer in ("inner", "middle")]
        return dense | {f"{s}.{name}": size for s in styles for name, size in of_layer.items()}
    channels = sizes.channels
    (height, width), *finer = sizes.grids
    dense = dense_shapes(sizes.inputs, sizes.hidden, height * width * channels[0])
    found = {name.replace("outer", "grid"): size for name, size in dense.items()}
    for number in range(len(finer)):
        out = channels[number + 1]
        found[f"finer.{number}.weight"] = (out, channels[number], _KERNEL, _KERNEL)
        found[f"finer.{number}.bias"] = (out,)
    values = sizes.shape.channels
    found["outer.weight"] = (values, channels[-1], _KERNEL, _KERNEL)
    found["outer.bias"] = (values,)
    return found


def images_added(
    arrays: Mapping[str, Array], inputs: Array, sizes: GeneratorSizes, coordinates: Coordinates
) -> Array:
    """Returns what the network adds to images, (N, height, width, channels).

    Args:
      arrays: its weights, names after `net.`.
      inputs: (N, coordinates + latent + classes), see `fedloom.common.images.corrected`.
      sizes: of the network.
      coordinates: that it sees, and writes where it writes frequencies.
    """
    if sizes.generator is Generation.CONVOLUTIONS:
        parts = [
            _convolved(arrays, inputs[start : start + _ROWS], sizes)
            for start in range(0, len(inputs), _ROWS)
        ]
        return np.concatenate([np.zeros((0, *_form(sizes.shape))), *parts])
    if sizes.generator is Generation.MODULATED:
        written = _modulated(arrays, inputs, sizes)
    else:
        written = dense(arrays, inputs)
    return coordinates.images(written[:, : coordinates.count])


def _form(shape: ImageShape) -> tuple[int, int, int]:
    return shape.height, shape.width, shape.channels


def _linear(arrays: Mapping[str, Array], name: str, inputs: Array) -> Array:
    weight = arrays[f"net.{name}.weight"][:, : inputs.shape[1]]
    found: Array = inputs @ weight.T + arrays[f"net.{name}.bias"]
    return found


def _modulated(arrays: Mapping[str, Array], inputs: Array, sizes: GeneratorSizes) -> Array:
    hidden, style = inputs[:, : sizes.detail], inputs[:, sizes.detail :]
    for layer in ("inner", "middle"):
        plain = _linear(arrays, layer, hidden)
        apart = plain - plain.mean(axis=1, keepdims=True)
        even = apart / np.sqrt((apart**2).mean(axis=1, keepdims=True) + STEADY)
        scale, shift = np.split(_linear(arrays, f"{layer}_style", style), 2, axis=1)
        hidden = np.tanh(even * (1.0 + scale) + shift)
    return _linear(arrays, "outer", hidden)


def _convolved(arrays: Mapping[str, Array], inputs: Array, sizes: GeneratorSizes) -> Array:
    hidden = np.tanh(_linear(arrays, "inner", inputs))
    hidden = np.tanh(_linear(arrays, "middle", hidden))
    (height, width), *finer = sizes.grids
    values = height * width * sizes.channels[0]
    grid = _leaky(_linear(arrays, "grid", hidden)[:, :values])
    grid = grid.reshape(len(inputs), sizes.channels[0], height, width)
    for number in range(len(finer)):
        doubled = grid.repeat(2, axis=2).repeat(2, axis=3)
        grid = _leaky(_convolution(arrays, f"finer.{number}", doubled))
    shape = sizes.shape
    written = _convolution(arrays, "outer", grid)[:, :, : shape.height, : shape.width]
    return written.transpose(0, 2, 3, 1)


def _leaky(values: Array) -> Array:
    return np.where(values < 0.0, SLOPE * values, values)


def _convolution(arrays: Mapping[str, Array], name: str, images: Array) -> Array:
    """Returns (N, out, height, width) of (N, in, height, width), zeros beyond the rim."""
    weight = arrays[f"net.{name}.weight"]
    rows, _, height, width = images.shape
    around = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)))
    found = np.zeros((rows, len(weight), height * width))
    for down, right in np.ndindex(_KERNEL, _KERNEL):
        moved = around[:, :, down : down + height, right : right + width]
        found += weight[:, :, down, right] @ moved.reshape(rows, -1, height * width)
    found += arrays[f"net.{name}.bias"][:, None]
    return found.reshape(rows, -1, height, width)
