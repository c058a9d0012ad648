"""Images of a mixture and of candidates that won votes; NumPy alone, in double precision.

A record of class c is one of the candidate k, varied by a public warp (`warps`), with the chance
`voted_weights[c, k]`, and one of the mixture otherwise. Arrays beside those of the mixture:
`voted_images` (C, K, height, width, channels) in [0, 1], `voted_weights` (C, K), and `warp` (1,),
the strength.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.common.artifact import Artifact
from fedloom.common.images.generator import ImageGenerator
from fedloom.common.images.shape import ImageShape
from fedloom.common.images.warps import warped

__all__ = ["VotedImages", "mixture_images", "voted_shapes"]

Array = NDArray[Any]

# Images that are varied at a time: bounds memory, and is part of what a seed means.
_CHUNK = 1024


def voted_shapes(
    shape: ImageShape, num_classes: int, candidates: int
) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of the arrays beside those of the mixture; none without candidates."""
    if not candidates:
        return {}
    pixels = (shape.height, shape.width, shape.channels)
    return {
        "voted_images": (num_classes, candidates, *pixels),
        "voted_weights": (num_classes, candidates),
        "warp": (1,),
    }


class VotedImages:
    """Draws images of given classes; see the module."""

    def __init__(self, mixture: ImageGenerator, arrays: Mapping[str, Array]) -> None:
        """Takes the mixture, and the arrays of a published generator."""
        self._mixture = mixture
        self._images = np.clip(np.asarray(arrays["voted_images"], np.float64), 0.0, 1.0)
        self._bounds = np.cumsum(np.maximum(arrays["voted_weights"], 0.0), axis=1, dtype=np.float64)
        self._warp = float(np.clip(arrays["warp"][0], 0.0, 4.0))

    def draw(self, classes: Array, rng: np.random.Generator) -> Array:
        """Draws one image for each class given, (N, height, width, channels) uint8."""
        made = self._mixture.draw(classes, rng)
        chance = rng.random(len(classes))
        chosen = np.flatnonzero(chance < self._bounds[classes, -1])
        for start in range(0, len(chosen), _CHUNK):
            rows = chosen[start : start + _CHUNK]
            number = (chance[rows, None] >= self._bounds[classes[rows]]).sum(axis=1)
            varied = warped(self._images[classes[rows], number], rng, self._warp)
            made[rows] = np.rint(np.clip(varied, 0.0, 1.0) * 255.0).astype(np.uint8)
        return made


def mixture_images(artifact: Artifact, shape: ImageShape) -> ImageGenerator | VotedImages:
    """Returns the source of an `image-mixture`; see `fedloom.common.images.sampler.ImageSource`."""
    mixture = ImageGenerator(shape, artifact.arrays)
    return VotedImages(mixture, artifact.arrays) if artifact.config.get("voted") else mixture
