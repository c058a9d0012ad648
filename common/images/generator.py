"""Images from the published mixture of Gaussians of each class; NumPy alone, in double precision.

A record of class c falls into group k with the chance `weights[c, k]`; its vector is
`means[c] + basis (centres[c, k] + roots[c, k] e)` with e standard normal. The vector's coordinates
are an image. Grain is added: independent coordinates of the standard deviations `grain`, put where
the class leaves room for it, as values in [0, 1] of mean m vary by no more than m (1 - m). The
image is bent by a smooth random field whose modes move by `bends` along each axis (`bends`). The
whole is seen from the frame that the vector's last numbers give if the study uses frames; values
are then moved along the tone curve of the class and channel.

Arrays, for C classes, K groups, d directions and vectors of D numbers, the last 5 the frame's:
`class_prior` (C,), `means` (C, D), `basis` (D, d), `grain` (D - 5,), `weights` (C, K), `centres`
(C, K, d), `roots` (C, K, d, d), `bends` (2, 24), `framed` (1,), 0 or 1, and `tone_places` and
`tone_values` (C, channels, 257).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.common.images.bends import BENDS, Bends
from fedloom.common.images.coordinates import Coordinates
from fedloom.common.images.frame import from_frame
from fedloom.common.images.shape import ImageShape
from fedloom.common.images.tone import tone_shapes, toned
from fedloom.common.images.vectors import FRAME_WIDTH, frame_weight

__all__ = ["ImageGenerator", "generator_shapes"]

Array = NDArray[Any]

# Images drawn at a time: bounds memory, and is part of what a seed means.
_CHUNK = 2048
# Grain at one place is at most this many times its mean over the image.
_MOST_GRAIN = 3.0


def generator_shapes(
    shape: ImageShape, num_classes: int, *, coordinates: int, directions: int, groups: int
) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of the arrays of a generator of these sizes."""
    width = min(coordinates, shape.num_values) + FRAME_WIDTH
    return {
        "class_prior": (num_classes,),
        "means": (num_classes, width),
        "basis": (width, directions),
        "grain": (width - FRAME_WIDTH,),
        "weights": (num_classes, groups),
        "centres": (num_classes, groups, directions),
        "roots": (num_classes, groups, directions, directions),
        "bends": BENDS,
        "framed": (1,),
        **tone_shapes(num_classes, shape.channels),
    }


class ImageGenerator:
    """Draws images of given classes."""

    def __init__(self, shape: ImageShape, arrays: Mapping[str, Array]) -> None:
        """Takes the arrays of a published generator, see the module; tone curves may be missing."""
        self.shape = shape
        self._arrays = {name: np.asarray(value, np.float64) for name, value in arrays.items()}
        self._coordinates = Coordinates(shape, self._arrays["means"].shape[1] - FRAME_WIDTH)
        weights = np.maximum(self._arrays["weights"], 0.0)
        weights[weights.sum(axis=1) <= 0.0] = 1.0
        count = self._coordinates.count
        mean = np.clip(self._coordinates.images(self._arrays["means"][:, :count]), 0.0, 1.0)
        room = mean * (1.0 - mean)
        of_class = np.maximum(room.mean(axis=(1, 2, 3), keepdims=True), 1e-6)
        self._room = np.minimum(np.sqrt(room / of_class), _MOST_GRAIN)
        self._bounds = np.cumsum(weights, axis=1) / weights.sum(axis=1, keepdims=True)
        self._bends = Bends(shape, self._arrays["bends"])

    def draw(self, classes: Array, rng: np.random.Generator) -> Array:
        """Draws one image for each class given.

        Args:
          classes: (N,) classes.
          rng: source of the draws; needs no secrecy.

        Returns:
          (N, height, width, channels) uint8.
        """
        shape = self.shape
        images = np.zeros((len(classes), shape.height, shape.width, shape.channels), np.uint8)
        for start in range(0, len(classes), _CHUNK):
            own = classes[start : start + _CHUNK]
            made = self.shades(own, rng)
            images[start : start + _CHUNK] = np.rint(made * 255.0).astype(np.uint8)
        return images

    def shades(self, classes: Array, rng: np.random.Generator) -> Array:
        """Draws images with their final values before these are rounded, in [0, 1]."""
        return toned(self.untoned(classes, rng), classes, self._arrays)

    def untoned(self, classes: Array, rng: np.random.Generator) -> Array:
        """Draws images before their values are moved, (N, height, width, channels), real."""
        arrays, count = self._arrays, self._coordinates.count
        vectors = self.vectors(classes, rng)
        images = self._coordinates.images(vectors[:, :count])
        if arrays["grain"].any():
            grain = rng.normal(size=(len(classes), count)) * arrays["grain"]
            images += self._coordinates.images(grain) * self._room[classes]
        images = self._bends.bent(images, rng)
        if arrays["framed"][0] > 0.5:
            frames = vectors[:, count:] / frame_weight(self.shape.num_values)
            images = from_frame(images, frames)
        return images

    def vectors(self, classes: Array, rng: np.random.Generator) -> Array:
        """Draws vectors (N, D), before grain and warp."""
        arrays = self._arrays
        chance = rng.random(len(classes))
        group = (chance[:, None] > self._bounds[classes]).sum(axis=1)
        group = np.minimum(group, self._bounds.shape[1] - 1)
        normal = rng.normal(size=(len(classes), arrays["basis"].shape[1]))
        place = np.zeros_like(normal)
        cell = classes * self._bounds.shape[1] + group
        for number in np.unique(cell):
            rows = np.flatnonzero(cell == number)
            label, own = divmod(int(number), self._bounds.shape[1])
            place[rows] = (
                normal[rows] @ arrays["roots"][label, own].T + arrays["centres"][label, own]
            )
        drawn: Array = arrays["means"][classes] + place @ arrays["basis"].T
        return drawn

    def bent_vectors(self, vectors: Array, rng: np.random.Generator) -> Array:
        """Returns the vectors of images that a warp has bent, seen from the same frames.

        Args:
          vectors: (N, D) of images without grain.
          rng: source of the warps.
        """
        count = self._coordinates.count
        bent = self._bends.bent(self._coordinates.images(vectors[:, :count]), rng)
        return np.concatenate([self._coordinates.of(bent), vectors[:, count:]], axis=1)
