"""Embeddings: features of images from a network that is installed at the sites, by entry point.

A package offers a class in the group `fedloom.embeddings`, called without arguments, with

    dimensions: int                        numbers of an image's features
    weights() -> dict[str, array]          all numbers that the features depend on
    features(image) -> array               (dimensions,) of one (height, width, channels) uint8

The plan names the embedding and the SHA-256 of its weights. A site refuses another, before any
record is read. The network sees one image at a time, so features cannot depend on other records by
way of a batch; before records are read it is also shown public images twice, in two orders, and
refused if it gives an image other features the second time. Whatever it gives is cut at -128 and
128 and put on a grid, so that squared distances are exact; what is no number counts as 0, and an
image with which it fails has the features 0: a record has one vote in any case.

What cannot be checked: that the code keeps no memory of images in some other way. It is code that
a site installs and trusts, like fedloom itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fedloom.common.entry_points import EMBEDDINGS, from_package, installed, load, working
from fedloom.common.errors import ConfigError
from fedloom.common.images.bounded import gridded

__all__ = [
    "Embedded",
    "Embedding",
    "check_embedding",
    "embedding_of",
    "installed_weights",
    "weights_of",
]

Array = NDArray[Any]

MOST_DIMENSIONS = 4096
_MOST = 128.0
_TRIES = 8


class Embedding(Protocol):
    """What a package offers; see the module."""

    dimensions: int

    def weights(self) -> Mapping[str, Array]:
        """Returns all numbers that features depend on, by name."""
        ...

    def features(self, image: Array) -> Array:
        """Returns the features of one image, (dimensions,)."""
        ...


class Embedded:
    """An embedding as records meet it: image by image, on a grid, and never failing."""

    def __init__(self, embedding: Embedding) -> None:
        """Takes an embedding."""
        self._embedding, self.dimensions = embedding, int(embedding.dimensions)

    def of(self, images: Array) -> Array:
        """Returns the features of images (N, height, width, channels), (N, dimensions) float64."""
        found = np.zeros((len(images), self.dimensions))
        for number, image in enumerate(images):
            found[number] = self._one(image)
        return found

    def _one(self, image: Array) -> Array:
        try:
            values = np.asarray(self._embedding.features(image.copy()), dtype=np.float64)
        except Exception:  # whatever a record holds, it has a vote
            return np.zeros(self.dimensions)
        if values.shape != (self.dimensions,):
            return np.zeros(self.dimensions)
        return gridded(np.clip(values, -_MOST, _MOST))


def weights_of(embedding: Embedding) -> str:
    """Returns the SHA-256 of an embedding's weights: names, types, shapes and bytes, by name.

    Raises:
      ConfigError: one of them holds Python objects, whose bytes are addresses.
    """
    found = hashlib.sha256(b"fedloom embedding\n")
    for name, value in sorted(embedding.weights().items()):
        array = np.ascontiguousarray(value)
        if array.dtype.hasobject:
            raise ConfigError(f"the weights {name!r} of an embedding must be numbers; correct it")
        found.update(f"{name}\n{array.dtype.str}\n{array.shape}\n".encode())
        found.update(array.tobytes())
    return found.hexdigest()


def installed_weights(name: str) -> str:
    """Returns the SHA-256 of the weights of the installed embedding of a name.

    Raises:
      ConfigError: it is not installed.
    """
    return _made(name)[1]


@lru_cache(maxsize=4)
def embedding_of(name: str, weights: str | None) -> Embedded:
    """Returns the installed embedding.

    Args:
      name: of its entry point.
      weights: SHA-256 that its weights must have.

    Raises:
      ConfigError: it is not installed, has other weights, or is none.
    """
    point = installed(EMBEDDINGS, name)
    made, found = _made(name)
    if not 1 <= int(made.dimensions) <= MOST_DIMENSIONS:
        raise ConfigError(
            f"the embedding {name!r} must have 1 to {MOST_DIMENSIONS} dimensions, it has "
            f"{made.dimensions}; correct {from_package(point)}"
        )
    if weights != found:
        raise ConfigError(
            f"the embedding {name!r} of {from_package(point)} has weights of SHA-256 {found}, the "
            f"plan names {weights}; install the version of it that the plan means"
        )
    return Embedded(made)


def _made(name: str) -> tuple[Embedding, str]:
    """Returns an installed embedding, and the SHA-256 of its weights."""
    point = installed(EMBEDDINGS, name)
    with working(point):
        made: Embedding = load(point)()
        int(made.dimensions)  # one without them fails here, where the package is named
        return made, weights_of(made)


def check_embedding(name: str, weights: str | None, pixels: tuple[int, int, int]) -> None:
    """Checks, before records are read, that an embedding is the plan's and sees each image alone.

    Args:
      name: of its entry point.
      weights: SHA-256 that its weights must have.
      pixels: height, width and channels of an image.

    Raises:
      ConfigError: it is not installed, is another, or gives an image other features when other
        images come before it.
    """
    embedding = embedding_of(name, weights)
    public = np.random.default_rng(0).integers(0, 256, (_TRIES, *pixels), dtype=np.uint8)
    if not np.array_equal(embedding.of(public), embedding.of(public[::-1])[::-1]):
        raise ConfigError(
            f"the embedding {name!r} gives an image other features after other images, so one "
            "record would change the votes of others; features must depend on the image alone"
        )
