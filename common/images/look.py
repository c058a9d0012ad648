"""The first sum over images: how light they are, how their frames lie, and whether frames help.

For each class it holds a histogram of the values of every channel (`TONES` equal bins), and the sum
of coarse vectors twice: of the image as it is, and as it is seen from its own frame, whose numbers
stand beside it. For all classes together it holds the histogram once more, and the squared lengths
of both vectors: asked by class and added up, they would have the noise of every class.

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
# Of the squared norm of a record's vector. By class: tone, the two views. Of all classes together:
# tone, the squared lengths of the views.
_SHARES = (0.1, 0.25, 0.25, 0.2, 0.1, 0.1)
# Parts that are summed by class.
_BY_CLASS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a look tells, as noisy sums over records.

    Attributes:
      tones: (C, channels, TONES) shares of each value, of the records of each class.
      shared: (channels, TONES) the same of all records.
      views: (C, coarse + 5) twice, without and with frames: vectors about the middle grey.
      lengths: (2,) squared lengths of the two, of all records.
      light: (channels,) mean value of an image less the middle grey, of all records.
      stds: noise of a number of tones and of each view.
      shared_std: noise of a number of `shared`.
    """

    tones: Array
    shared: Array
    views: tuple[Array, Array]
    lengths: Array
    light: Array
    stds: tuple[float, float, float]
    shared_std: float


class ImageLook:
    """The look at images of one shape; see the module."""

    def __init__(self, shape: ImageShape, num_classes: int) -> None:
        """Takes the public shape and the number of classes."""
        self.shape = shape
        self.num_classes = num_classes
        self._coarse = Coordinates(shape, COARSE)
        width = self._coarse.count + FRAME_WIDTH
        tones = shape.channels * TONES
        self._widths = (tones, width, width, tones, 1, 1)
        self._own = sum(self._widths[:_BY_CLASS])
        self._bounds = tuple(math.floor(math.sqrt(share) * L2_NORM) for share in _SHARES)
        radius = 0.5 * math.sqrt(shape.num_values)
        self._weight = frame_weight(shape.num_values)
        far = math.sqrt(radius**2 + (self._weight**2) * float((FRAME_LIMITS**2).sum()))
        lightest = math.sqrt(shape.channels)
        self._radii = (lightest, radius, far, lightest, 1.0, 1.0)
        self._squares = (radius**2, far**2)
        self.length = num_classes * self._own + sum(self._widths[_BY_CLASS:])

    def sum(self, images: Array, classes: Array) -> Array:
        """Returns the exact sum over records, (length,) int64.

        Args:
          images: (N, height, width, channels) uint8.
          classes: (N,) class of each record.
        """
        own = np.zeros((self.num_classes, self._own), dtype=np.int64)
        shared = np.zeros(self.length - own.size, dtype=np.int64)
        for rows, levels in blocks_of(images):
            parts = zip(self._parts(levels), self._radii, self._bounds, strict=True)
            steps = np.concatenate([whole(*part) for part in parts], axis=1)
            shared += steps[:, self._own :].sum(axis=0).astype(np.int64)
            labels = classes[rows]
            for label in np.unique(labels):
                chosen = steps[labels == label, : self._own]
                own[label] += chosen.sum(axis=0).astype(np.int64)
        return np.concatenate([own.reshape(-1), shared])

    def read(self, total: Array, std: float) -> Look:
        """Returns what a noisy sum tells.

        Args:
          total: (length,) the noisy sum.
          std: of its noise.
        """
        split = self.num_classes * self._own
        own = total[:split].reshape(self.num_classes, self._own)
        ends = np.cumsum(self._widths)
        found = np.split(own, ends[: _BY_CLASS - 1], axis=1)
        found += np.split(total[split:], ends[_BY_CLASS:-1] - self._own)
        scales = [
            radius / steps_of(bound, width)
            for width, radius, bound in zip(self._widths, self._radii, self._bounds, strict=True)
        ]
        tones, plain, framed, shared, *lengths = (
            part * scale for part, scale in zip(found, scales, strict=True)
        )
        return Look(
            tones=tones.reshape(self.num_classes, self.shape.channels, TONES),
            shared=shared.reshape(self.shape.channels, TONES),
            views=(plain, framed),
            lengths=np.concatenate(lengths) * self._squares,
            light=self._light(plain.sum(axis=0)),
            stds=(std * scales[0], std * scales[1], std * scales[2]),
            shared_std=std * scales[3],
        )

    def _light(self, vector: Array) -> Array:
        """Returns the mean value in each channel of the image of a coarse vector, (channels,)."""
        image = self._coarse.images(vector[None, : self._coarse.count])
        light: Array = image.mean(axis=(0, 1, 2))
        return light

    def _parts(self, levels: Array) -> tuple[Array, ...]:
        """Returns the parts of the vectors of images (n, height, width, channels), levels."""
        framed, frames = framed_levels(levels)
        plain = self._vector(levels, np.zeros_like(frames))
        seen = self._vector(framed, frames)
        squares = [
            gridded((vector**2).sum(axis=1, keepdims=True) / most)
            for vector, most in zip((plain, seen), self._squares, strict=True)
        ]
        tones = self._tones(levels)
        return tones, plain, seen, tones, *squares

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
