"""Images from the published decoder of an `image-vae`; NumPy alone, in double precision.

A latent from the Gaussian of its class, and the class, go through hidden layers of tanh to
coordinates in the public cosine basis; these, times `CONTRAST`, are the logits of an image, whose
values then move along the tone curve of class and channel.
`fedloom.common.models.image_networks` is the same network in single precision.

Arrays: `class_prior` (C,), `latent_means` (C, L), `latent_roots` (C, L, L), `net.` with the
arrays of `dense_shapes`, and the tone's.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.common.artifact import Artifact
from fedloom.common.images.coder import ImageCoder
from fedloom.common.images.coordinates import Coordinates
from fedloom.common.images.net_sizes import dense_shapes
from fedloom.common.images.shape import ImageShape
from fedloom.common.images.tone import tone_shapes, toned

__all__ = ["CONTRAST", "TonedImages", "WrittenImages", "dense", "written_shapes"]

Array = NDArray[Any]

CONTRAST = 4.0
"""What coordinates are multiplied with, so that networks of unit size reach black and white."""
# Images drawn at a time: bounds memory, and is part of what a seed means.
_CHUNK = 2048


class TonedImages(ABC):
    """What the networks' images share: drawn in parts, values moved along tone curves last."""

    shape: ImageShape
    _arrays: dict[str, Array]

    def draw(self, classes: Array, rng: np.random.Generator) -> Array:
        """Draws one image for each class given, (N, height, width, channels) uint8."""
        shape = self.shape
        images = np.zeros((len(classes), shape.height, shape.width, shape.channels), np.uint8)
        for start in range(0, len(classes), _CHUNK):
            own = classes[start : start + _CHUNK]
            made = toned(self.untoned(own, rng), own, self._arrays)
            images[start : start + _CHUNK] = np.rint(made * 255.0).astype(np.uint8)
        return images

    @abstractmethod
    def untoned(self, classes: Array, rng: np.random.Generator) -> Array:
        """Draws images before their values are moved, in [0, 1]."""


class WrittenImages(TonedImages):
    """Draws images of given classes; see `fedloom.common.images.sampler.ImageSource`."""

    def __init__(self, artifact: Artifact, shape: ImageShape) -> None:
        """Takes a published `image-vae`; tone curves may be missing."""
        self.shape = shape
        self._arrays = {
            name: np.asarray(value, np.float64) for name, value in artifact.arrays.items()
        }
        self._coordinates = Coordinates(shape, int(artifact.config["detail"]))

    def untoned(self, classes: Array, rng: np.random.Generator) -> Array:
        """Draws images before their values are moved, in [0, 1]."""
        means, roots = self._arrays["latent_means"], self._arrays["latent_roots"]
        draws = rng.standard_normal((len(classes), means.shape[1]))
        latents = means[classes] + np.einsum("nij,nj->ni", roots[classes], draws)
        rows = np.eye(len(means))[classes]
        written = dense(self._arrays, np.concatenate([latents, rows], axis=1))
        logits = CONTRAST * self._coordinates.images(written[:, : self._coordinates.count])
        images: Array = 0.5 * (1.0 + np.tanh(0.5 * logits))
        return images


def dense(arrays: Mapping[str, Array], inputs: Array) -> Array:
    """Returns what the network of `net.` arrays makes of inputs (N, n), padding left out.

    However many hidden layers there are, `net.further` ones come after the middle.
    """
    inner = arrays["net.inner.weight"][:, : inputs.shape[1]]
    hidden = np.tanh(inputs @ inner.T + arrays["net.inner.bias"])
    hidden = np.tanh(hidden @ arrays["net.middle.weight"].T + arrays["net.middle.bias"])
    for number in itertools.count():
        name = f"net.further.{number}."
        if name + "weight" not in arrays:
            break
        hidden = np.tanh(hidden @ arrays[name + "weight"].T + arrays[name + "bias"])
    out: Array = hidden @ arrays["net.outer.weight"].T + arrays["net.outer.bias"]
    return out


def written_shapes(config: Mapping[str, Any], coder: ImageCoder) -> dict[str, tuple[int, ...]]:
    """Returns the names and shapes of the arrays of an `image-vae`."""
    encoding, shape = coder.encoding, coder.shape
    classes, latent = encoding.num_classes, int(config["latent"])
    net = dense_shapes(
        latent + classes,
        int(config["hidden"]),
        min(int(config["detail"]), shape.num_values),
        int(config["depth"]),
    )
    return {
        "class_prior": (classes,),
        "latent_means": (classes, latent),
        "latent_roots": (classes, latent, latent),
        "probabilities": (classes, encoding.width),
        **{f"net.{name}": size for name, size in net.items()},
        **tone_shapes(classes, shape.channels),
    }
