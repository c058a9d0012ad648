"""The sums over images as registered statistics: their requests, checked, and what they add up.

All but the first two are asked with arrays that the coordinator makes from earlier noisy sums.
Whatever the arrays hold, one record adds at most `l2_norm` (`fedloom.common.images.sums`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fedloom.common.errors import ConfigError
from fedloom.common.images.bounded import packed_width
from fedloom.common.images.coder import CODES, PIXELS, ImageCoder
from fedloom.common.images.look import ImageLook
from fedloom.common.images.sums import (
    L2_NORM,
    ClassMeans,
    ClassSpread,
    GroupMeans,
    GroupSpread,
    Spread,
)
from fedloom.common.images.vectors import FRAME_WIDTH
from fedloom.common.marginals import OneWayMarginals

__all__ = [
    "IMAGE_SUMS",
    "MOST_DIRECTIONS",
    "MOST_GROUPS",
    "ColumnSum",
    "ImageSum",
    "LookSum",
    "VectorSum",
    "check_request",
    "image_sum",
    "most_cells",
    "request_arrays",
    "request_shapes",
]

Array = NDArray[Any]
Arrays = Mapping[str, Array]

MOST_DIRECTIONS = 90
MOST_GROUPS = 20


class ImageSum(Protocol):
    """A sum over records with images."""

    length: int
    l2_norm: float

    def sum(self, features: Array, classes: Array) -> Array:
        """Returns the exact sum over records, (length,) int64."""
        ...


class VectorSum(Protocol):
    """A sum over the vectors of images."""

    @property
    def length(self) -> int:
        """Coordinates of the sum."""
        ...

    def sum(self, vectors: Array, classes: Array) -> Array:
        """Returns the exact sum over records, (length,) int64."""
        ...


class ColumnSum:
    """How often each code of each column occurs within each class; see `OneWayMarginals`."""

    def __init__(self, coder: ImageCoder, arrays: Arrays) -> None:
        """Takes the layout from the public encoding; there are no arrays."""
        self._counts = OneWayMarginals(coder.encoding)
        self.length, self.l2_norm = self._counts.length, self._counts.l2_norm

    def sum(self, features: Array, classes: Array) -> Array:
        """Returns the exact counts, (length,) int64."""
        return self._counts.sum(features[CODES], classes)


class LookSum:
    """The look at images; see `ImageLook`."""

    def __init__(self, coder: ImageCoder, arrays: Arrays) -> None:
        """Takes the layout from shape and classes; there are no arrays."""
        self._look = ImageLook(coder.shape, coder.encoding.num_classes)
        self.length, self.l2_norm = self._look.length, float(L2_NORM)

    def sum(self, features: Array, classes: Array) -> Array:
        """Returns the exact sum, (length,) int64."""
        return self._look.sum(features[PIXELS], classes)


@dataclass(frozen=True, slots=True)
class _OfVectors:
    """A sum over the vectors of images, from a coder and the arrays of a request."""

    coder: ImageCoder
    framed: bool
    asked: VectorSum
    l2_norm: float = float(L2_NORM)

    @property
    def length(self) -> int:
        return self.asked.length

    def sum(self, features: Array, classes: Array) -> Array:
        return self.asked.sum(self.coder.vectors(features, self.framed), classes)


def _class_means(coder: ImageCoder, arrays: Arrays) -> VectorSum:
    return ClassMeans(
        num_classes=coder.encoding.num_classes,
        centre=arrays["centre"],
        radius=float(arrays["radius"][0]),
    )


def _spread(coder: ImageCoder, arrays: Arrays) -> VectorSum:
    return Spread(means=arrays["means"], radius=float(arrays["radius"][0]))


def _class_spread(coder: ImageCoder, arrays: Arrays) -> VectorSum:
    directions = int(arrays["used"][0])
    return ClassSpread(
        means=arrays["means"],
        basis=np.ascontiguousarray(arrays["basis"][:, :directions]),
        radius=float(arrays["radius"][0]),
    )


def _groups(kind: type[GroupMeans] | type[GroupSpread]) -> Callable[[Any, Arrays], VectorSum]:
    def made(coder: ImageCoder, arrays: Arrays) -> VectorSum:
        directions, groups = (int(size) for size in arrays["used"])
        return kind(
            means=arrays["means"],
            basis=np.ascontiguousarray(arrays["basis"][:, :directions]),
            centres=np.ascontiguousarray(arrays["centres"][:, :groups, :directions]),
            radius=float(arrays["radius"][0]),
        )

    return made


_MAKERS: dict[str, Callable[[Any, Arrays], VectorSum]] = {
    "image-means": _class_means,
    "image-spread": _spread,
    "image-class-spread": _class_spread,
    "image-group-means": _groups(GroupMeans),
    "image-group-spread": _groups(GroupSpread),
}
IMAGE_SUMS = tuple(_MAKERS)
"""The sums over vectors, in the order in which they are asked."""


def request_shapes(name: str, coder: ImageCoder) -> dict[str, tuple[tuple[int, ...], str]]:
    """Returns shape and type of each array of a request for one of `IMAGE_SUMS`."""
    classes, width = coder.encoding.num_classes, coder.coordinates.count + FRAME_WIDTH
    directions = min(MOST_DIRECTIONS, width)
    shapes: dict[str, tuple[tuple[int, ...], str]] = {
        "framed": ((1,), "int32"),
        "radius": ((1,), "float64"),
    }
    if name == "image-means":
        return {**shapes, "centre": ((width,), "float64")}
    shapes["means"] = ((classes, width), "float64")
    if name == "image-spread":
        return shapes
    shapes["basis"] = ((width, directions), "float64")
    if name == "image-class-spread":
        return {**shapes, "used": ((1,), "int32")}
    shapes["centres"] = ((classes, MOST_GROUPS, directions), "float64")
    return {**shapes, "used": ((2,), "int32")}


def request_arrays(name: str, coder: ImageCoder, asked: Any, framed: bool) -> dict[str, Array]:
    """Returns the arrays of a request for a sum of `fedloom.common.images.sums`.

    What a sum has less of than its arrays have room for is filled up with zeros.
    """
    given: dict[str, Any] = {"framed": [framed], "radius": [asked.radius]}
    used: list[int] = []
    for field in ("centre", "means", "basis", "centres"):
        value = getattr(asked, field, None)
        if value is not None:
            given[field] = value
            used = [value.shape[1]] if field == "basis" else used
            used = [*used, value.shape[1]] if field == "centres" else used
    arrays = {}
    for field, (shape, kind) in request_shapes(name, coder).items():
        array = np.zeros(shape, dtype=kind)
        value = np.asarray(used if field == "used" else given[field])
        array[tuple(slice(size) for size in value.shape)] = value
        arrays[field] = array
    return arrays


def image_sum(name: str) -> Callable[[Any, Arrays], Any]:
    """Returns what makes the sum of a kind from coder and arrays."""

    def made(coder: ImageCoder, arrays: Arrays) -> _OfVectors:
        framed = bool(arrays["framed"][0])
        return _OfVectors(coder, framed, _MAKERS[name](coder, arrays))

    return made


def check_request(name: str) -> Callable[[Any, Arrays, int], None]:
    """Returns what refuses arrays of the right shapes that say what they may not."""

    def check(coder: ImageCoder, arrays: Arrays, max_cells: int) -> None:
        radius = float(arrays["radius"][0])
        if not (math.isfinite(radius) and radius > 0.0):
            raise ConfigError(f"the radius must be a number above 0, got {radius!r}")
        if int(arrays["framed"][0]) not in (0, 1):
            raise ConfigError(f"framed must be 0 or 1, got {int(arrays['framed'][0])}")
        shapes = request_shapes(name, coder)
        room = [shapes[field][0][1] for field in ("basis", "centres") if field in shapes]
        for used, most in zip(arrays.get("used", ()), room, strict=True):
            if not 1 <= int(used) <= most:
                raise ConfigError(f"used sizes must lie between 1 and {most}, got {int(used)}")

    return check


def most_cells(name: str, coder: ImageCoder) -> int:
    """Returns the most coordinates that the sum of a kind may have."""
    classes, width = coder.encoding.num_classes, coder.coordinates.count + FRAME_WIDTH
    directions = min(MOST_DIRECTIONS, width)
    triangle = packed_width(directions)
    return {
        "image-means": classes * width,
        "image-spread": 1 + packed_width(width),
        "image-class-spread": classes * triangle,
        "image-group-means": classes * MOST_GROUPS * (1 + directions),
        "image-group-spread": classes * MOST_GROUPS * (1 + directions + triangle),
    }[name]
