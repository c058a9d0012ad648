"""Public variations of an image: a small affine change, and an elastic one.

A warp turns, scales, slants and moves an image, and bends it by a smooth field of low cosine
frequencies (elastic distortion: Simard, Steinkraus and Platt 2003). Nothing here looks at data:
what is drawn is the seed's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.common.images.coordinates import cosines
from fedloom.common.images.frame import cubic_taps, places_of

__all__ = ["warped"]

Array = NDArray[Any]

# Standard deviations at a strength of 1: radians, logarithm of a scale, slant, and shifts and
# bends in units of half an image.
_TURN, _SCALE, _SLANT, _SHIFT, _BEND = 0.10, 0.08, 0.12, 0.04, 0.05
# Frequencies of the field in each direction; the constant one would only shift.
_WAVES = 3


def warped(images: Array, rng: np.random.Generator, strength: float = 1.0) -> Array:
    """Returns each image warped by a draw of its own.

    Args:
      images: (N, height, width, channels), real.
      rng: source of the draws; needs no secrecy.
      strength: of the warp; 0 leaves images as they are.

    Returns:
      The same shape, float64; what lies beyond an edge is as the edge is.
    """
    number, height, width = images.shape[:3]
    normal = rng.normal(size=(number, 6)) * strength
    turn, slant = _TURN * normal[:, 0], _SLANT * normal[:, 1]
    scales = np.exp(_SCALE * normal[:, 2:4])
    shifts = _SHIFT * normal[:, 4:6]
    y, x = (places_of(size, np.float64)[:, None] for size in (height, width))
    x, y = x.T[None], y[None]
    cos, sin = (part[:, None, None] for part in (np.cos(turn), np.sin(turn)))
    across = (cos * x + sin * y) * scales[:, 0, None, None] + slant[:, None, None] * y
    down = (cos * y - sin * x) * scales[:, 1, None, None]
    bends = _fields(rng, number, height, width) * (_BEND * strength)
    across = across + shifts[:, 0, None, None] + bends[:, 0]
    down = down + shifts[:, 1, None, None] + bends[:, 1]
    return _read(np.asarray(images, dtype=np.float64), down, across)


def _fields(rng: np.random.Generator, number: int, height: int, width: int) -> Array:
    """Returns smooth random fields (number, 2, height, width) of a mean square of about 1."""
    weights = rng.normal(size=(number, 2, _WAVES, _WAVES)) / np.sqrt(_WAVES**2 - 1)
    weights[:, :, 0, 0] = 0.0
    rows, columns = (cosines(size)[:_WAVES] * np.sqrt(size) for size in (height, width))
    found: Array = np.einsum("ih,ncij,jw->nchw", rows, weights, columns, optimize=True)
    return found


def _read(images: Array, down: Array, across: Array) -> Array:
    """Reads images between their pixels, (N, height, width, channels), by cubic convolution.

    Linear reading would blur, and blurred images are told from others at once.
    """
    height, width = images.shape[1:3]
    row, of_rows = cubic_taps(down, height, beyond=0.0)
    column, of_columns = cubic_taps(across, width, beyond=0.0)
    which, found = np.arange(len(images))[:, None, None], np.zeros_like(images)
    for below, weight in enumerate(of_rows):
        rows = np.clip(row + below, 0, height - 1)
        for beside, other in enumerate(of_columns):
            columns = np.clip(column + beside, 0, width - 1)
            found += images[which, rows, columns] * (weight * other)[..., None]
    return found
