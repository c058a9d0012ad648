"""Synthetic records with images: columns first, as of a table, then an image of the class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fedloom.common.artifact import Artifact
from fedloom.common.errors import ConfigError
from fedloom.common.images.coder import ImageCoder, image_settings
from fedloom.common.images.generator import generator_shapes
from fedloom.common.images.shape import ImageShape
from fedloom.common.images.vectors import MOST_COORDINATES
from fedloom.common.images.voted import voted_shapes
from fedloom.common.models.registry import MODELS
from fedloom.common.parts import load_part
from fedloom.common.records.image import IMAGE
from fedloom.common.sampling.draw import Sampler
from fedloom.common.sampling.rows import Rows
from fedloom.common.sampling.tally import Tally

if TYPE_CHECKING:
    import pandas as pd

    from fedloom.common.schema import Schema

__all__ = ["DrawnImages", "ImageSampler", "ImageSource", "image_shapes", "image_source"]

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class DrawnImages:
    """Synthetic records.

    Attributes:
      rows: their columns.
      images: (N, height, width, channels) uint8.
    """

    rows: Rows
    images: Array

    def frame(self) -> pd.DataFrame:
        """Returns them one a row, each image in a cell of its own."""
        frame = self.rows.frame()
        frame[IMAGE] = list(self.images)
        return frame


class ImageSource(Protocol):
    """What draws images from a published generator: the `source` of a kind of model of images."""

    def draw(self, classes: Array, rng: np.random.Generator) -> Array:
        """Draws one image for each class given, (N, height, width, channels) uint8."""
        ...


def image_source(artifact: Artifact, shape: ImageShape) -> ImageSource:
    """Returns what draws images from a generator.

    Raises:
      ConfigError: it is no generator of images.
    """
    kind = MODELS.get(artifact.kind)
    if kind is None or kind.source is None or IMAGE not in kind.records:
        raise ConfigError(f"{artifact.kind!r} is no kind of generator that draws images")
    source: ImageSource = load_part(kind.source)(artifact, shape)
    return source


class ImageSampler:
    """Draws records from a generator of images, under conditions and constraints on columns."""

    def __init__(
        self,
        artifact: Artifact,
        schema: Schema,
        target: str | None,
        where: Mapping[str, Any] | None = None,
    ) -> None:
        """Takes the generator, its schema and label, and conditions by column.

        Raises:
          ConfigError: a condition cannot be read or met.
        """
        arrays = artifact.arrays
        columns = Artifact(
            kind="mixture",
            config={"components": 1},
            arrays={
                "class_prior": arrays["class_prior"],
                "probabilities": arrays["probabilities"][:, None, :],
            },
        )
        self._columns = Sampler(columns, schema, target, where)
        self._images = image_source(artifact, image_settings(schema).shape)

    def rows(self, count: int, rng: np.random.Generator) -> tuple[DrawnImages, Tally]:
        """Draws records that meet the conditions and keep the constraints."""
        rows, tally = self._columns.rows(count, rng)
        classes = self._columns.encoding.classes(rows.codes)
        return DrawnImages(rows, self._images.draw(classes, rng)), tally


def image_shapes(config: Mapping[str, Any], coder: ImageCoder) -> dict[str, tuple[int, ...]]:
    """Returns the names and shapes of the arrays of an `image-mixture`."""
    encoding = coder.encoding
    shapes = generator_shapes(
        coder.shape,
        encoding.num_classes,
        coordinates=MOST_COORDINATES,
        directions=int(config["directions"]),
        groups=int(config["groups"]),
    )
    shapes |= voted_shapes(coder.shape, encoding.num_classes, int(config.get("voted", 0)))
    return {**shapes, "probabilities": (encoding.num_classes, encoding.width)}
