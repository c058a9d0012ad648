"""Synthetic records with images: columns first, as of a table, then an image of the class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fedloom.common.artifact import Artifact
from fedloom.common.images.coder import ImageCoder, image_settings
from fedloom.common.images.generator import ImageGenerator, generator_shapes
from fedloom.common.images.vectors import MOST_COORDINATES
from fedloom.common.records.image import IMAGE
from fedloom.common.sampling.draw import Sampler
from fedloom.common.sampling.rows import Rows
from fedloom.common.sampling.tally import Tally

if TYPE_CHECKING:
    import pandas as pd

    from fedloom.common.schema import Schema

__all__ = ["DrawnImages", "ImageSampler", "image_shapes"]

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


class ImageSampler:
    """Draws records from an `image-mixture`, under conditions and constraints on their columns."""

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
        self._images = ImageGenerator(image_settings(schema).shape, arrays)

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
    return {**shapes, "probabilities": (encoding.num_classes, encoding.width)}
