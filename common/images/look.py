"""The first sum over images: how light they are, how their frames lie, and whether frames help.

For each class it holds a histogram of the values of every channel (`TONES` equal bins), and the sum
of coarse vectors twice: of the image as it is, and as it is seen from its own frame, whose numbers
stand beside it; with their squared lengths.

Every part of a record's vector is clipped to a public radius and written in whole steps
(`bounded`), so one record adds at most `L2_NORM` in L2 norm, whatever its image holds: with
Gaussian noise of the phase's multiplier times that (one Gaussian event) the sum is (epsilon,
delta)-DP when one record, or one person with all its rows, is added or removed. The radius of the
coarse coordinates needs no data: values lie in [0, 1], so no image is further from the
middle grey than half the root of its number of values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.common.images.bounded import gridded, steps_of, whole
from fedloom.common.images.coordinates import Coordinates
from fedloom.common.images.frame import FRAME_LIMITS
from fedloom.common.images.shape import ImageShape
from fedloom.common.images.sums import L2_NORM
from fedloom.common.images.vectors import (
    FRAME_WIDTH,
    blocks_of,
    coordinates_of_levels,
    frame_weight,
    framed_levels,
)

__all__ = ["COARSE", "TONES", "ImageLook", "Look"]

Array = NDArray[Any]

TONES = 64
COARSE = 64
# Of the squared norm of a record's vector: tone, the two views, their squared lengths.
_SHARES = (0.3, 0.25, 0.25, 0.1, 0.1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a look tells, as noisy sums over the records of each class.

    Attributes:
      tones: (C, channels, TONES) shares of each value, summed over records.
      views: (C, coarse + 5) twice, without and with frames: vectors about the middle grey.
      lengths: (C, 2) squared lengths of the two.
      stds: noise of a number of tones and of each view.
    """

    tones: Array
    views: tuple[Array, Array]
    lengths: Array
    stds: tuple[float, float, float]


class ImageLook:
    """The look at images of one shape; see the module."""

    def __init__(self, shape: ImageShape, num_classes: int) -> None:
        """Takes the public shape and the number of classes."""
        self.shape = shape
        self.num_classes = num_classes
        self._coarse = Coordinates(shape, COARSE)
        width = self._coarse.count + FRAME_WIDTH
        self._widths = (shape.channels * TONES, width, width, 1, 1)
        self._bounds = tuple(math.floor(math.sqrt(share) * L2_NORM) for share in _SHARES)
        radius = 0.5 * math.sqrt(shape.num_values)
        self._weight = frame_weight(shape.num_values)
        far = math.sqrt(radius**2 + (self._weight**2) * float((FRAME_LIMITS**2).sum()))
        self._radii = (math.sqrt(shape.channels), radius, far, 1.0, 1.0)
        self._squares = (radius**2, far**2)
        self.length = num_classes * sum(self._widths)

    def sum(self, images: Array, classes: Array) -> Array:
        """Returns the exact sum over records, (length,) int64.

        Args:
          images: (N, height, width, channels) uint8.
          classes: (N,) class of each record.
        """
        total = np.zeros((self.num_classes, sum(self._widths)), dtype=np.int64)
        for rows, levels in blocks_of(images):
            parts = zip(self._parts(levels), self._radii, self._bounds, strict=True)
            steps = np.concatenate([whole(*part) for part in parts], axis=1)
            labels = classes[rows]
            for label in np.unique(labels):
                total[label] += steps[labels == label].sum(axis=0).astype(np.int64)
        return total.reshape(-1)

    def read(self, total: Array, std: float) -> Look:
        """Returns what a noisy sum tells.

        Args:
          total: (length,) the noisy sum.
          std: of its noise.
        """
        rows = total.reshape(self.num_classes, -1)
        parts, stds, start = [], [], 0
        for width, radius, bound in zip(self._widths, self._radii, self._bounds, strict=True):
            scale = radius / steps_of(bound, width)
            parts.append(rows[:, start : start + width] * scale)
            stds.append(std * scale)
            start += width
        tones, plain, framed, *lengths = parts
        return Look(
            tones=tones.reshape(self.num_classes, self.shape.channels, TONES),
            views=(plain, framed),
            lengths=np.concatenate(lengths, axis=1) * self._squares,
            stds=(stds[0], stds[1], stds[2]),
        )

    def _parts(self, levels: Array) -> tuple[Array, ...]:
        """Returns the parts of the vectors of images (n, height, width, channels), levels."""
        framed, frames = framed_levels(levels)
        plain = self._vector(levels, np.zeros_like(frames))
        seen = self._vector(framed, frames)
        squares = [
            gridded((vector**2).sum(axis=1, keepdims=True) / most)
            for vector, most in zip((plain, seen), self._squares, strict=True)
        ]
        return self._tones(levels), plain, seen, *squares

    def _vector(self, levels: Array, frames: Array) -> Array:
        """Returns the coarse vectors of images about the middle grey, (N, coarse + 5)."""
        coarse = coordinates_of_levels(levels, self._coarse) - gridded(0.5 * self._coarse.grey)
        return np.concatenate([coarse, gridded(self._weight * frames)], axis=1)

    def _tones(self, levels: Array) -> Array:
        """Returns the share of each bin among the values of each channel, (N, channels * TONES)."""
        count, pixels = len(levels), self.shape.height * self.shape.width
        bins = levels.astype(np.int64) * TONES // 256
        which = np.arange(count)[:, None, None, None] * self.shape.channels
        cells = (which + np.arange(self.shape.channels)) * TONES + bins
        counts = np.bincount(cells.reshape(-1), minlength=count * self.shape.channels * TONES)
        return gridded(counts.reshape(count, -1) / pixels)
