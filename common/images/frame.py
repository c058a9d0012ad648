"""A frame of its own for each image: where its light lies, how wide, how high, how slanted.

The frame follows from the first and second moments of an image's lightness, as if it were a mass:
`x = cx + sx u + sh sy v`, `y = cy + sy v`, with u and v the coordinates in which the mass is
centred, upright and of the standard spread. An image is kept as its five numbers (cx, cy, log sx,
log sy, sh) beside itself seen from its frame. Where things lie on a dark ground this takes most of
their slant and size out of the pixels; where light fills the image it does little.

Both ways are two passes of one-dimensional cubic interpolation (Keys 1981), because y depends on v
alone. All is a fixed function of one image: moments of whole numbers are summed without rounding,
and the rest goes pixel by pixel, so that nothing depends on which images are computed together.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["FRAME_LIMITS", "along_rows", "cubic_taps", "from_frame", "places_of", "to_frame"]

Array = NDArray[Any]

FRAME_LIMITS = np.array([0.4, 0.4, 0.8, 0.6, 0.7])
"""Largest absolute cx, cy, log sx, log sy and sh; half an image is 1."""
_SPREAD = 0.36
_LEAST_VARIANCE = 1e-4
# So many pixels outside no tap meets the image: there is nothing, however far.
_NOTHING = 3.0


def to_frame(images: Array) -> tuple[Array, Array]:
    """Returns images as seen from their own frames.

    Args:
      images: (N, height, width, channels), float, not negative; on any scale.

    Returns:
      The framed images, of the same shape and type, not clipped; and their frames (N, 5), within
      `FRAME_LIMITS`. An image without light keeps the frame of the whole picture.
    """
    frames = _frames(images)
    cx, cy, sx, sy, sh = _scales(frames, images.dtype)
    u, v = places_of(images.shape[2], images.dtype), places_of(images.shape[1], images.dtype)
    rows = cy[:, None] + sy[:, None] * v
    columns = cx[:, None, None] + sx[:, None, None] * u + (sh * sy)[:, None, None] * v[:, None]
    return along_rows(_down_columns(images, rows), columns), frames


def from_frame(framed: Array, frames: Array) -> Array:
    """Returns images whose own view and frame are given: the way back of `to_frame`.

    Args:
      framed: (N, height, width, channels), float.
      frames: (N, 5).

    Returns:
      (N, height, width, channels), not clipped.
    """
    cx, cy, sx, sy, sh = _scales(np.clip(frames, -FRAME_LIMITS, FRAME_LIMITS), framed.dtype)
    x, y = places_of(framed.shape[2], framed.dtype), places_of(framed.shape[1], framed.dtype)
    v = (y - cy[:, None]) / sy[:, None]
    slant = (sh * sy)[:, None, None] * places_of(framed.shape[1], framed.dtype)[:, None]
    u = (x - cx[:, None, None] - slant) / sx[:, None, None]
    return _down_columns(along_rows(framed, u), v)


def _scales(frames: Array, kind: Any) -> tuple[Array, Array, Array, Array, Array]:
    cx, cy, log_sx, log_sy, sh = frames.T.astype(kind)
    return cx, cy, np.exp(log_sx), np.exp(log_sy), sh


def places_of(size: int, kind: Any) -> Array:
    """Returns the middles of pixels (size,), half an image being 1."""
    places: Array = ((np.arange(size) + 0.5) * (2.0 / size) - 1.0).astype(kind)
    return places


def _frames(images: Array) -> Array:
    height, width = images.shape[1:3]
    light = images.sum(axis=3, dtype=np.float64)
    # Whole numbers: middles of pixels in units of which the image has `width` and `height`.
    x, y = 2.0 * np.arange(width) + 1.0 - width, 2.0 * np.arange(height) + 1.0 - height
    columns, rows = light.sum(axis=1), light.sum(axis=2)
    mass = rows.sum(axis=1)
    lit = mass > 0.0
    mass = np.where(lit, mass, 1.0)
    cx, cy = columns @ x / mass / width, rows @ y / mass / height
    xx = columns @ x**2 / mass / width**2 - cx**2
    yy = np.maximum(rows @ y**2 / mass / height**2 - cy**2, _LEAST_VARIANCE)
    both = (light @ x) @ y
    xy = both / mass / (width * height) - cx * cy
    sh = xy / yy
    upright = np.maximum(xx - sh * xy, _LEAST_VARIANCE)
    logs = 0.5 * np.log(np.stack([upright, yy])) - np.log(_SPREAD)
    frames = np.stack([cx, cy, logs[0], logs[1], sh], axis=1)
    frames[~lit] = 0.0
    limited: Array = np.clip(frames, -FRAME_LIMITS, FRAME_LIMITS)
    return limited


def _down_columns(images: Array, places: Array) -> Array:
    """Reads every column at other heights; `places` (N, height)."""
    size = images.shape[1]
    first, weights = cubic_taps(places, size, beyond=_NOTHING)
    result = np.zeros_like(images)
    number = np.arange(len(images))[:, None]
    for tap, weight in enumerate(weights):
        index = first + tap
        inside = (index >= 0) & (index < size)
        rows = images[number, np.clip(index, 0, size - 1)]
        result += rows * (weight * inside)[:, :, None, None]
    return result


def along_rows(images: Array, places: Array) -> Array:
    """Returns images whose rows are read at other places, by cubic interpolation.

    Args:
      images: (N, height, width, channels), float.
      places: (N, height, width), half an image being 1; beyond it there is nothing.
    """
    size = images.shape[2]
    first, weights = cubic_taps(places, size, beyond=_NOTHING)
    result = np.zeros_like(images)
    for tap, weight in enumerate(weights):
        index = first + tap
        inside = (index >= 0) & (index < size)
        values = np.take_along_axis(images, np.clip(index, 0, size - 1)[..., None], axis=2)
        result += values * (weight * inside)[..., None]
    return result


def cubic_taps(places: Array, size: int, *, beyond: float) -> tuple[Array, tuple[Array, ...]]:
    """Returns the first of four neighbouring pixels, and the weights of all four.

    Cubic convolution with a = -1/2 (Keys 1981).

    Args:
      places: half an image being 1.
      size: pixels along this axis.
      beyond: pixels outside the image; places that are further outside are read there.
    """
    at = np.clip((places + 1.0) * (size / 2.0) - 0.5, -beyond, size - 1.0 + beyond)
    below = np.floor(at)
    t = at - below
    weights = (
        ((-0.5 * t + 1.0) * t - 0.5) * t,
        (1.5 * t - 2.5) * t * t + 1.0,
        ((-1.5 * t + 2.0) * t + 0.5) * t,
        (0.5 * t - 0.5) * t * t,
    )
    return below.astype(np.int32) - 1, weights
