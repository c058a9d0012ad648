"""How light images are: smooth histograms of the values of each class from noisy ones.

All classes together are read first, then each class as far as its own counts say otherwise, so
that noise neither fills empty greys nor makes classes alike that are not
(`fedloom.server.learners.smoothing`). Post-processing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.common.images.look import Look
from fedloom.server.learners.smoothing import tree

__all__ = ["class_tones"]

Array = NDArray[Any]

_FLOOR = 1e-6


def class_tones(look: Look, counts: Array) -> Array:
    """Returns the share of each value in each class and channel, (C, channels, TONES).

    Args:
      look: the noisy first sum.
      counts: (C,) noisy number of records of each class, positive.
    """
    classes, channels, bins = look.tones.shape
    variance = look.stds[0] ** 2
    result = np.zeros(look.tones.shape)
    for channel in range(channels):
        pooled = look.tones[:, channel].sum(axis=0)
        noise = np.eye(bins) * variance * classes
        shared = tree(pooled, noise, np.ones(bins), float(counts.sum())) / counts.sum()
        shared = shared + _FLOOR
        for label in range(classes):
            own = look.tones[label, channel]
            total = float(counts[label])
            found = tree(own, np.eye(bins) * variance, shared * total, total)
            result[label, channel] = found / max(float(found.sum()), 1e-12)
    return result
