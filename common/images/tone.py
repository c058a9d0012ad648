"""Grey levels made to follow a histogram: monotone transport of one channel.

Values drawn from Gaussians are neither black nor white where images are: what is drawn is moved
so that its values have the distribution that a noisy histogram tells, smallest to smallest
(histogram specification; Gonzalez and Woods, Digital Image Processing, section 3.3).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["CURVE", "apply_tone", "tone_curve", "tone_shapes", "toned"]

Array = NDArray[Any]

CURVE = 256


def tone_curve(drawn: Array, histogram: Array) -> tuple[Array, Array]:
    """Returns the curve that takes drawn values to those of a histogram.

    Args:
      drawn: any values of one channel, in [0, 1] or beyond.
      histogram: (B,) shares of equal bins of [0, 1], none negative.

    Returns:
      Places and values, each (CURVE + 1,), neither falling.
    """
    levels = np.linspace(0.0, 1.0, CURVE + 1)
    places = np.quantile(drawn, levels)
    heights = np.concatenate([[0.0], np.cumsum(histogram)])
    heights /= heights[-1]
    # The lowest and the highest bin hold pure black and pure white: their mass lies at the ends.
    edges = np.linspace(0.0, 1.0, len(histogram) + 1)
    edges[1], edges[-2] = 0.0, 1.0
    values = np.interp(levels, heights, edges)
    return places, values


def apply_tone(images: Array, places: Array, values: Array) -> Array:
    """Returns values moved along a curve, within [0, 1]."""
    return np.interp(images, places, values)


def tone_shapes(num_classes: int, channels: int) -> dict[str, tuple[int, ...]]:
    """Returns the names and shapes of the curves of a generator."""
    shape = (num_classes, channels, CURVE + 1)
    return {"tone_places": shape, "tone_values": shape}


def toned(images: Array, classes: Array, arrays: Mapping[str, Array]) -> Array:
    """Moves values, in place, along the curves of their classes and channels.

    Args:
      images: (N, height, width, channels), real.
      classes: (N,).
      arrays: with `tone_places` and `tone_values`.

    Returns:
      The images, within [0, 1].
    """
    places, values = arrays["tone_places"], arrays["tone_values"]
    for label in np.unique(classes):
        rows = np.flatnonzero(classes == label)
        for channel in range(images.shape[3]):
            images[rows, ..., channel] = apply_tone(
                images[rows, ..., channel], places[label, channel], values[label, channel]
            )
    clipped: Array = np.clip(images, 0.0, 1.0)
    return clipped
