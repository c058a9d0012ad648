"""Images from the published decoder of an `image-vae`; NumPy alone, in double precision.

A latent and the class go through hidden layers of tanh to coordinates in the public cosine basis;
these, times `CONTRAST`, are the logits of an image, whose values then move along the tone curve of
class and channel. The latent is the mean of its class plus a root times numbers from N(0, I), which
the couplings of a flow have moved if there is one.
`fedloom.common.models.image_networks` is the same network in single precision.

Arrays: `class_prior` (C,), `latent_means` (C, L), `latent_roots` (C, L, L), `net.` with the
arrays of `dense_shapes`, `flow.` with those of `flow_shapes`, and the tone's.
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
from fedloom.common.images.net_sizes import FLOW_REACH, dense_shapes, flow_halves, flow_shapes
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
        rows = np.eye(len(means))[classes]
        draws = unflowed(self._arrays, draws, rows)
        latents = means[classes] + np.einsum("nij,nj->ni", roots[classes], draws)
        written = dense(self._arrays, np.concatenate([latents, rows], axis=1))
        logits = CONTRAST * self._coordinates.images(written[:, : self._coordinates.count])
        images: Array = 0.5 * (1.0 + np.tanh(0.5 * logits))
        return images


def unflowed(arrays: Mapping[str, Array], numbers: Array, rows: Array) -> Array:
    """Returns what the flow of `flow.` arrays takes to numbers (N, L); all of them without one.

    Couplings are undone last to first; `fedloom.common.models.latent_flow` is the other way.

    Args:
      arrays: of a published `image-vae`.
      numbers: (N, L).
      rows: (N, C) rows of classes.
    """
    seen_width, moved_width = flow_halves(numbers.shape[1])
    couplings = sum(name.startswith("flow.inner") and name.endswith("weight") for name in arrays)
    for number in reversed(range(couplings)):
        first = number % 2 == 0
        seen = numbers[:, :seen_width] if first else numbers[:, moved_width:]
        moved = numbers[:, seen_width:] if first else numbers[:, :moved_width]
        inputs = np.concatenate([seen, rows], axis=1)
        inner = arrays[f"flow.inner.{number}.weight"][:, : inputs.shape[1]]
        told = np.tanh(inputs @ inner.T + arrays[f"flow.inner.{number}.bias"])
        told = told @ arrays[f"flow.outer.{number}.weight"].T + arrays[f"flow.outer.{number}.bias"]
        logs = FLOW_REACH * np.tanh(told[:, :moved_width] / FLOW_REACH)
        moved = (moved - told[:, moved_width : 2 * moved_width]) * np.exp(-logs)
        numbers = np.concatenate([seen, moved] if first else [moved, seen], axis=1)
    return numbers


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
    flow = flow_shapes(latent, classes, int(config["flow"]))
    return {
        "class_prior": (classes,),
        "latent_means": (classes, latent),
        "latent_roots": (classes, latent, latent),
        "probabilities": (classes, encoding.width),
        **{f"net.{name}": size for name, size in net.items()},
        **{f"flow.{name}": size for name, size in flow.items()},
        **tone_shapes(classes, shape.channels),
    }
