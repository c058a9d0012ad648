"""Images bent by smooth random fields: how shapes differ that are drawn by hand, grown or turned.

Where a stroke lies a little higher, a mixture of Gaussians adds light on one side of it and takes
it on the other, which blurs it; a warp moves it. Each place of an image is read a little beside
itself, by two random fields, one for each axis. A field is a sum of few public modes, products of
cosines down and across the image as of a cosine transform (so moves die out along the edges), each
of mean square 1 and with a normal coefficient.

Both passes are one-dimensional cubic interpolation, as for frames: NumPy in double precision.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.common.images.frame import along_rows, places_of
from fedloom.common.images.shape import ImageShape

__all__ = ["BENDS", "Bends", "bent_by", "mode_frequencies", "bend_fields"]

Array = NDArray[Any]

# Frequencies of a field along each axis, 0 to 4. The constant one would move whole images.
_FREQUENCIES = 5
BENDS = (2, _FREQUENCIES**2 - 1)
"""Shape of an array of one number for each mode: down and across the image, modes."""


def bend_fields(height: int, width: int) -> Array:
    """Returns the public modes (M, height, width), each of mean square 1."""
    down, across = (
        np.cos(np.pi * np.outer(np.arange(_FREQUENCIES), (np.arange(size) + 0.5) / size))
        for size in (height, width)
    )
    both = np.einsum("ih,jw->ijhw", down, across).reshape(-1, height, width)[1:]
    square = (both**2).mean(axis=(1, 2), keepdims=True)
    fields: Array = both / np.sqrt(np.maximum(square, 1e-12))
    return fields


def mode_frequencies() -> Array:
    """Returns the frequency of each mode (M,), in half waves along an image; all are 1 or more."""
    down, across = np.indices((_FREQUENCIES, _FREQUENCIES))
    frequencies: Array = np.hypot(down, across).reshape(-1)[1:]
    return frequencies


def bent_by(images: Array, moves: Array) -> Array:
    """Returns images read at moved places.

    Args:
      images: (N, height, width, channels), float.
      moves: (N, 2, height, width), how far down and across each place is read, half an image
        being 1.
    """
    down = places_of(images.shape[1], moves.dtype) + moves[:, 0].transpose(0, 2, 1)
    across = places_of(images.shape[2], moves.dtype) + moves[:, 1]
    turned = along_rows(images.transpose(0, 2, 1, 3), down)
    return along_rows(turned.transpose(0, 2, 1, 3), across)


class Bends:
    """Bends images of one shape by random fields."""

    def __init__(self, shape: ImageShape, scales: Array) -> None:
        """Takes the standard deviations of the coefficients, `BENDS`, half an image being 1."""
        self._scales = scales
        self._fields = bend_fields(shape.height, shape.width)

    def bent(self, images: Array, rng: np.random.Generator) -> Array:
        """Returns images (N, height, width, channels), each bent by fields of its own."""
        if not self._scales.any():
            return images
        drawn = rng.normal(size=(len(images), *BENDS)) * self._scales
        return bent_by(images, np.einsum("nam,mhw->nahw", drawn, self._fields))
