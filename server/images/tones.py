"""How light images are: smooth histograms of the values of each class from noisy ones.

All classes together are read first, then each class as far as its own counts say otherwise, so
that noise neither fills empty greys nor makes classes alike that are not
(`fedloom.server.learners.smoothing`). Post-processing.

The mean of a noisy histogram has the noise of all its bins; the coarse images of the same sum tell
how light images are ten times more surely, and the histogram is tilted to that (`tilted`).

Drawn images are moved to the tone of all classes together first (`shared_tones`): that keeps how
much light each class's shape has. What a class's own histogram says beyond it (`own_tones`) is
believed as far as it stands out of noise (James and Stein 1961): a class whose tone is noise would
be told apart by that noise.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.common.images.look import Look
from fedloom.server.images.algebra import joined
from fedloom.server.learners.smoothing import tree

__all__ = ["class_tones", "own_tones", "shared_tones", "tilted"]

Array = NDArray[Any]

_FLOOR = 1e-6
# Tilts e^(slope v) beyond these leave nothing but one end; steps of bisection towards one.
_STEEPEST, _HALVINGS = 100.0, 50


def shared_tones(look: Look, counts: Array) -> Array:
    """Returns the share of each value in all classes together, (channels, TONES).

    Args:
      look: the noisy first sum.
      counts: (C,) noisy number of records of each class, positive.
    """
    classes, _, bins = look.tones.shape
    of_classes = look.stds[0] * math.sqrt(classes)
    pooled, std = joined(look.shared, look.shared_std, look.tones.sum(axis=0), of_classes)
    noise, number = np.eye(bins) * std**2, float(counts.sum())
    found = np.stack([tree(own, noise, np.ones(bins), number) for own in pooled])
    light = 0.5 + look.light / number
    return np.stack([tilted(own + _FLOOR, mean) for own, mean in zip(found, light, strict=True)])


def tilted(histogram: Array, mean: float) -> Array:
    """Returns the histogram nearest in relative entropy that has a given mean.

    Args:
      histogram: (n,) shares or counts of equal bins of [0, 1], positive.
      mean: of the values; one that no histogram has is as near to it as can be.

    Returns:
      (n,) shares.
    """
    values = (np.arange(len(histogram)) + 0.5) / len(histogram)
    values[0], values[-1] = 0.0, 1.0
    low, high = -_STEEPEST, _STEEPEST
    for _ in range(_HALVINGS):
        slope = (low + high) / 2
        logs = slope * values
        shares = histogram * np.exp(logs - logs.max())
        shares /= shares.sum()
        low, high = (low, slope) if float(shares @ values) > mean else (slope, high)
    found: Array = shares
    return found


def class_tones(look: Look, counts: Array) -> Array:
    """Returns the share of each value in each class and channel, (C, channels, TONES)."""
    shared, noise = shared_tones(look, counts), look.stds[0] ** 2
    return np.stack(
        [
            np.stack([_smooth(*pair, number, noise) for pair in zip(own, shared, strict=True)])
            for own, number in zip(look.tones, counts, strict=True)
        ]
    )


def own_tones(own: Array, expected: Array, number: float, std: float) -> Array:
    """Returns the share of each value in one class and channel.

    Args:
      own: (TONES,) its noisy histogram.
      expected: (TONES,) shares without it, none negative.
      number: of the class's records, noisy, positive.
      std: of the noise of `own`.
    """
    expected = expected / expected.sum() + _FLOOR
    apart = float(((own - expected * number) ** 2).sum())
    believed = max(0.0, 1.0 - len(own) * std**2 / max(apart, 1e-12))
    return expected + believed * (_smooth(own, expected, number, std**2) - expected)


def _smooth(own: Array, expected: Array, number: float, variance: float) -> Array:
    found = tree(own, np.eye(len(own)) * variance, expected * number, number)
    return found / max(float(found.sum()), 1e-12)
