"""Images from the published generator of an `image-gan`; NumPy alone, in double precision.

A base image of the class comes from a mixture of Gaussians (`fedloom.common.images.generator`),
or is the coarse mean of its class where a study asked no more. A network sees its coordinates in
the public cosine basis, a latent of normal numbers and the class, and makes what is added to it
(`fedloom.common.images.generator_nets`). Values then move along the tone curve of class and
channel. With a network of zeros these are the images of the base.

Arrays: `base.` with the arrays of the base, `net.` with those of `net_shapes`, and the tone's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.common.artifact import Artifact
from fedloom.common.errors import ConfigError
from fedloom.common.images.coder import ImageCoder
from fedloom.common.images.coordinates import Coordinates
from fedloom.common.images.generator import ImageGenerator, generator_shapes
from fedloom.common.images.generator_nets import GeneratorSizes, images_added, net_shapes
from fedloom.common.images.shape import ImageShape
from fedloom.common.images.tone import tone_shapes
from fedloom.common.images.vectors import MOST_COORDINATES
from fedloom.common.images.written import CONTRAST, TonedImages
from fedloom.common.vocabulary import Generation

__all__ = ["BASE", "CorrectedImages", "corrected_shapes", "network_inputs"]

Array = NDArray[Any]

BASE = "base."


class CorrectedImages(TonedImages):
    """Draws images of given classes; see `fedloom.common.images.sampler.ImageSource`."""

    def __init__(self, artifact: Artifact, shape: ImageShape) -> None:
        """Takes a published `image-gan`; its own tone curves may be missing."""
        self.shape = shape
        self._arrays = {
            name: np.asarray(value, np.float64)
            for name, value in artifact.arrays.items()
            if not name.startswith(BASE)
        }
        base = {
            name.removeprefix(BASE): value
            for name, value in artifact.arrays.items()
            if name.startswith(BASE)
        }
        self._base = ImageGenerator(shape, base)
        self._sizes = _sizes(artifact.config, shape, len(self._arrays["class_prior"]))
        self._coordinates = Coordinates(shape, self._sizes.detail)

    def untoned(self, classes: Array, rng: np.random.Generator) -> Array:
        """Draws images before their values are moved, in [0, 1]."""
        base = self._base.shades(classes, rng)
        latents = rng.standard_normal((len(classes), self._sizes.latent))
        inputs = network_inputs(base, latents, classes, self._sizes.classes, self._coordinates)
        added = images_added(self._arrays, inputs, self._sizes, self._coordinates)
        images: Array = np.clip(base + added, 0.0, 1.0)
        return images


def network_inputs(
    base: Array, latents: Array, classes: Array, num_classes: int, coordinates: Coordinates
) -> Array:
    """Returns what the network sees of base images, (N, coordinates + latent + classes)."""
    seen = coordinates.of(2.0 * base - 1.0) / CONTRAST
    return np.concatenate([seen, latents, np.eye(num_classes)[classes]], axis=1)


def corrected_shapes(config: Mapping[str, Any], coder: ImageCoder) -> dict[str, tuple[int, ...]]:
    """Returns the names and shapes of the arrays of an `image-gan`.

    Args:
      config: of the artifact.
      coder: of the schema's records.

    Raises:
      ConfigError: the artifact's settings are none of such a generator.
    """
    encoding, shape = coder.encoding, coder.shape
    classes = encoding.num_classes
    base = generator_shapes(
        shape,
        classes,
        coordinates=MOST_COORDINATES,
        directions=_size(config, "directions"),
        groups=_size(config, "groups"),
    )
    net = net_shapes(_sizes(config, shape, classes))
    return {
        "class_prior": (classes,),
        "probabilities": (classes, encoding.width),
        **{BASE + name: size for name, size in base.items()},
        **{f"net.{name}": size for name, size in net.items()},
        **tone_shapes(classes, shape.channels),
    }


def _sizes(config: Mapping[str, Any], shape: ImageShape, classes: int) -> GeneratorSizes:
    if config.get("generator") not in list(Generation):
        raise ConfigError(f"the generator's settings lack one of {', '.join(Generation)}")
    return GeneratorSizes(
        generator=Generation(config["generator"]),
        shape=shape,
        classes=classes,
        detail=min(_size(config, "detail"), shape.num_values),
        hidden=_size(config, "hidden"),
        latent=_size(config, "latent"),
    )


def _size(config: Mapping[str, Any], name: str) -> int:
    size = config.get(name)
    if type(size) is not int or size < 1:
        raise ConfigError(f"the generator's settings lack the number {name!r}")
    return size
