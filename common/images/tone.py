"""Grey levels made to follow a histogram: monotone transport of one channel.

Values drawn from Gaussians are neither black nor white where images are: what is drawn is moved
so that its values have the distribution that a noisy histogram tells, smallest to smallest
(histogram specification; Gonzalez and Woods, Digital Image Processing, section 3.3).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["CURVE", "apply_tone", "tone_curve"]

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
