"""How large the networks of images are: public numbers that need no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from fedloom.common.images.oriented import oriented_width
from fedloom.common.images.shape import ImageShape
from fedloom.common.vocabulary import Likelihood, Reading, Rivalry

if TYPE_CHECKING:
    from fedloom.common.images.coder import ImageCoder
    from fedloom.common.models.image_settings import (
        ImageGanSettings,
        ImageNetSettings,
        ImageVaeSettings,
    )

__all__ = [
    "FLOW_HIDDEN",
    "FLOW_REACH",
    "WIDTHS",
    "corrector_inputs",
    "critic_parameters",
    "dense_shapes",
    "flow_halves",
    "flow_shapes",
    "moments_width",
    "moments_widths",
    "prior_width",
    "read_width",
    "reader_layers",
    "vae_parameters",
]

_SMALLEST = 4
_FIRST_CHANNELS, _CHANNELS = 16, 32
_WIDE_KERNEL, _KERNEL = 5, 3
# Numbers of a reading whose products are read too.
_MULTIPLIED = 64
FLOW_HIDDEN, FLOW_REACH = 32, 1.5
"""Width of the networks of a flow's couplings, and the most that one scales by, as a logarithm."""
WIDTHS = 16
"""Frequencies that tell the widths of a discretised likelihood, for each class."""


def reader_layers(shape: ImageShape) -> list[tuple[int, int, int]]:
    """Returns channels in, channels out and kernel of each convolution that reads an image."""
    side, channels = max(shape.height, shape.width), shape.channels
    found: list[tuple[int, int, int]] = []
    while side > _SMALLEST:
        out = _CHANNELS if found else _FIRST_CHANNELS
        found.append((channels, out, _WIDE_KERNEL if len(found) < 2 else _KERNEL))
        side, channels = -(-side // 2), out
    return found


def read_width(settings: ImageNetSettings, shape: ImageShape) -> int:
    """Returns how many numbers an encoder or a critic makes of an image before its last layer."""
    if settings.reading is Reading.FREQUENCIES:
        return _padded(settings.reading_hidden)
    height, width, layers = shape.height, shape.width, reader_layers(shape)
    for _ in layers:
        height, width = -(-height // 2), -(-width // 2)
    return layers[-1][1] * height * width


def dense_shapes(
    inputs: int, hidden: int, outputs: int, depth: int = 2
) -> dict[str, tuple[int, ...]]:
    """Returns names and shapes of the weights of the hidden layers and of what they write.

    Args:
      inputs: what the first layer sees.
      hidden: width of all hidden layers.
      outputs: what is written.
      depth: hidden layers, 2 at least.
    """
    width, hidden, out = _padded(inputs), _padded(hidden), _padded(outputs)
    further: dict[str, tuple[int, ...]] = {}
    for number in range(depth - 2):
        further[f"further.{number}.weight"] = (hidden, hidden)
        further[f"further.{number}.bias"] = (hidden,)
    return {
        "inner.weight": (hidden, width),
        "inner.bias": (hidden,),
        "middle.weight": (hidden, hidden),
        "middle.bias": (hidden,),
        **further,
        "outer.weight": (out, hidden),
        "outer.bias": (out,),
    }


def moments_widths(shape: ImageShape, detail: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Returns of the readings of frequencies and of edges how many numbers they have.

    Returns:
      Numbers that are read, and how many of these are multiplied, of each.
    """
    frequencies, edges = min(detail, shape.num_values), oriented_width(shape)
    return (frequencies, min(_MULTIPLIED, frequencies)), (edges, min(_MULTIPLIED, edges))


def moments_width(shape: ImageShape, detail: int) -> int:
    """Returns how many features say what moments of images are like.

    >>> moments_width(ImageShape(height=28, width=28, channels=1), 256)
    5248
    """
    widths = moments_widths(shape, detail)
    return sum(count + leading * (leading + 1) // 2 for count, leading in widths)


def prior_width(latent: int) -> int:
    """Returns how many numbers say where the latents of a class lie: a vector and a triangle.

    >>> prior_width(16)
    152
    """
    return 2 * latent + latent * (latent - 1) // 2


def flow_halves(latent: int) -> tuple[int, int]:
    """Returns how many dimensions a coupling sees, and how many it moves.

    >>> flow_halves(5)
    (2, 3)
    """
    return latent // 2, latent - latent // 2


def flow_shapes(latent: int, classes: int, couplings: int) -> dict[str, tuple[int, ...]]:
    """Returns names and shapes of the weights of a flow of latents."""
    seen, moved = flow_halves(latent)
    inputs, outputs = _padded(seen + classes), _padded(2 * moved)
    shapes: dict[str, tuple[int, ...]] = {}
    for number in range(couplings):
        shapes[f"inner.{number}.weight"] = (FLOW_HIDDEN, inputs)
        shapes[f"inner.{number}.bias"] = (FLOW_HIDDEN,)
        shapes[f"outer.{number}.weight"] = (outputs, FLOW_HIDDEN)
        shapes[f"outer.{number}.bias"] = (outputs,)
    return shapes


def vae_parameters(settings: ImageVaeSettings, coder: ImageCoder) -> int:
    """Returns the coordinates of a gradient of an `image-vae`."""
    classes = coder.encoding.num_classes
    heads = 2 * _linear(read_width(settings, coder.shape) + classes, settings.latent)
    heads += _linear(classes, prior_width(settings.latent))
    detail = min(settings.detail, coder.shape.num_values)
    decoder = _dense(settings.latent + classes, settings.hidden, detail, settings.depth)
    if settings.likelihood is Likelihood.DISCRETISED:
        heads += _linear(classes, WIDTHS)
    heads += _numbers(flow_shapes(settings.latent, classes, settings.flow))
    return _reader(settings, coder.shape, layers=1) + heads + decoder


def critic_parameters(settings: ImageGanSettings, coder: ImageCoder) -> int:
    """Returns the coordinates of a gradient of the critic of an `image-gan`."""
    if settings.loss is Rivalry.MOMENTS:
        width = moments_width(coder.shape, settings.detail)
        return _padded(width) * _padded(coder.encoding.num_classes)
    width = read_width(settings, coder.shape)
    return _reader(settings, coder.shape, layers=2) + _linear(width, coder.encoding.num_classes)


def corrector_inputs(detail: int, latent: int, num_classes: int) -> int:
    """Returns how many numbers the generator of an `image-gan` sees.

    >>> corrector_inputs(256, 16, 10)
    282
    """
    return detail + latent + num_classes


def _reader(settings: ImageNetSettings, shape: ImageShape, *, layers: int) -> int:
    if settings.reading is Reading.FREQUENCIES:
        width = settings.reading_hidden
        first = _linear(min(settings.detail, shape.num_values), width)
        return first + (layers - 1) * _linear(width, width)
    return sum(out * (into * kernel**2 + 1) for into, out, kernel in reader_layers(shape))


def _dense(inputs: int, hidden: int, outputs: int, depth: int = 2) -> int:
    return _numbers(dense_shapes(inputs, hidden, outputs, depth))


def _numbers(shapes: Mapping[str, tuple[int, ...]]) -> int:
    return sum(math.prod(shape) for shape in shapes.values())


def _linear(inputs: int, outputs: int) -> int:
    return (_padded(inputs) + 1) * _padded(outputs)


def _padded(size: int) -> int:
    # As `fedloom.common.models.decoder.padded`, which needs torch.
    return -(-size // 16) * 16
