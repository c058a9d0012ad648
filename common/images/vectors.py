"""The vectors that images are summed as: coordinates in a public basis, and a frame."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.common.images.bounded import gridded
from fedloom.common.images.coordinates import Coordinates
from fedloom.common.images.frame import FRAME_LIMITS, to_frame

__all__ = [
    "FRAME_WIDTH",
    "MOST_COORDINATES",
    "blocks_of",
    "coordinates_of_levels",
    "frame_weight",
    "framed_levels",
    "image_vectors",
]

Array = NDArray[Any]

MOST_COORDINATES = 400
"""Of an image; what is finer is left out."""
FRAME_WIDTH = len(FRAME_LIMITS)
LEVELS = 255.0
# A frame's numbers count like pixels: about what moving an image by half its size changes.
_FRAME_WEIGHT = 0.36
# What is read between pixels is kept to a quarter of a level, so that sums of it are exact.
_PARTS = 4.0
_BLOCK = 1024


def frame_weight(num_values: int) -> float:
    """Returns what one unit of a frame's numbers counts, beside images of so many values."""
    return _FRAME_WEIGHT * math.sqrt(num_values)


def blocks_of(images: Array) -> Iterator[tuple[slice, Array]]:
    """Yields rows and images (n, height, width, channels) of them, levels as float64."""
    for start in range(0, len(images), _BLOCK):
        rows = slice(start, min(start + _BLOCK, len(images)))
        yield rows, images[rows].astype(np.float64)


def framed_levels(levels: Array) -> tuple[Array, Array]:
    """Returns images as seen from their own frames, in quarters of levels, and their frames."""
    framed, frames = to_frame(levels)
    return np.rint(np.clip(framed, 0.0, LEVELS) * _PARTS) / _PARTS, frames


def coordinates_of_levels(levels: Array, coordinates: Coordinates) -> Array:
    """Returns the coordinates of images whose levels 0 to 255 stand for 0 to 1, on the grid."""
    return gridded(coordinates.of(levels) / LEVELS)


def image_vectors(images: Array, coordinates: Coordinates, framed: bool) -> Array:
    """Returns the vectors that images are summed as.

    Args:
      images: (N, height, width, channels) uint8.
      coordinates: of the study's shape.
      framed: whether images are seen from their own frames.

    Returns:
      (N, count + 5) float64 multiples of `GRID`: coordinates, then the frame's numbers, 0 without
      frames. Each row depends on its own image alone, to the last bit.
    """
    count, weight = coordinates.count, frame_weight(coordinates.shape.num_values)
    result = np.zeros((len(images), count + FRAME_WIDTH))
    for rows, levels in blocks_of(images):
        if framed:
            levels, frames = framed_levels(levels)
            result[rows, count:] = gridded(weight * frames)
        result[rows, :count] = coordinates_of_levels(levels, coordinates)
    return result
