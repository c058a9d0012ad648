"""Images and columns as coded records."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fedloom.common.encoding import Encoding
from fedloom.common.errors import DataError, SchemaError
from fedloom.common.images.coordinates import Coordinates
from fedloom.common.images.vectors import MOST_COORDINATES, image_vectors
from fedloom.common.records.base import Coded
from fedloom.common.records.image import IMAGE, ImageSettings

if TYPE_CHECKING:
    import pandas as pd

    from fedloom.common.models.image_settings import ImageMixtureSettings
    from fedloom.common.models.vote_settings import VoteSettings
    from fedloom.common.schema import Schema

__all__ = [
    "CODES",
    "PIXELS",
    "ImageCoder",
    "fitting",
    "image_positions",
    "image_settings",
    "voting_coder",
]

Array = NDArray[Any]

CODES, PIXELS = "f0", "f1"
"""Fields of a coded record: its columns' codes (m,) int32, and its image uint8."""


class ImageCoder:
    """Codes records with images: each is its columns' codes, and its image."""

    def __init__(
        self, schema: Schema, target: str | None, votes: VoteSettings | None = None
    ) -> None:
        """Takes the layout from the schema.

        Args:
          schema: the public schema.
          target: the label column, or None.
          votes: how records vote for candidate images, if they do.

        Raises:
          SchemaError: there is no such column, or a column is open.
        """
        self.encoding = Encoding(schema, target)
        self.shape = image_settings(schema).shape
        self.coordinates = Coordinates(self.shape, MOST_COORDINATES)
        self.votes = votes
        self._pixels = (self.shape.height, self.shape.width, self.shape.channels)
        self._last: tuple[weakref.ref[Array], bool, Array] | None = None

    @property
    def record_shape(self) -> tuple[int, ...]:
        """One structured value a record."""
        return ()

    @property
    def record_type(self) -> str:
        """A structured type of `CODES` and `PIXELS`."""
        return f"({len(self.encoding.features)},)i4,{self._pixels}u1"

    def coded(self, private_frame: pd.DataFrame) -> Coded:
        """Codes records; what is no image of the schema's shape counts as a dark one.

        Raises:
          DataError: a column is missing.
        """
        if IMAGE not in private_frame.columns:
            raise DataError("the records have no images; give a source that holds them")
        columns = self.encoding.coded(private_frame[list(self.encoding.schema.names)])
        features = np.zeros(len(private_frame), dtype=self.record_type)
        features[CODES] = columns.features
        unknown = 0
        for number, cell in enumerate(private_frame[IMAGE]):
            if fitting(cell, self._pixels):
                features[PIXELS][number] = cell
            else:
                unknown += 1
        return Coded(
            features=features,
            classes=columns.classes,
            clamped=columns.clamped,
            unknown={**columns.unknown, IMAGE: unknown},
        )

    def vectors(self, features: Array, framed: bool) -> Array:
        """Returns the vectors (N, D) that images are summed as.

        The last ones are kept for the next sum, and for no longer than the records live.

        Args:
          features: coded records, private.
          framed: whether images are seen from their own frames.
        """
        last = self._last
        if last is not None and last[0]() is features and last[1] is framed:
            return last[2]
        made = image_vectors(features[PIXELS], self.coordinates, framed)
        self._last = (weakref.ref(features, self._forgetting()), framed, made)
        return made

    def _forgetting(self) -> Callable[[weakref.ref[Array]], None]:
        """Returns what drops the vectors once their records are gone: both are as private."""
        whose = weakref.ref(self)  # a strong one would close a circle, which lives until collected

        def forget(records: weakref.ref[Array]) -> None:
            coder = whose()
            if coder is not None and coder._last is not None and coder._last[0] is records:
                coder._last = None

        return forget


def image_positions(coder: ImageCoder, coded: Coded) -> Array:
    """Returns the coordinates of each image as it is, (N, D); columns have no part in them."""
    return coder.vectors(coded.features, framed=False)


def voting_coder(model: ImageMixtureSettings, schema: Schema, target: str | None) -> ImageCoder:
    """Returns the coder of a model whose records may vote.

    Raises:
      SchemaError: there is no such column, or a column is open.
    """
    return ImageCoder(schema, target, model.votes)


def image_settings(schema: Schema) -> ImageSettings:
    """Returns the `[image]` of a schema.

    Raises:
      SchemaError: it describes no images, or a column stands in the way of them.
    """
    if not isinstance(schema.records, ImageSettings):
        raise SchemaError("the schema describes no images; add a section [image]")
    if not schema.columns:
        raise SchemaError(
            "a schema of images needs a column beside them, such as a category with one value that "
            "all records have; add one"
        )
    if IMAGE in schema.names:
        raise SchemaError(f"no column may be called {IMAGE!r} beside images; rename it")
    return schema.records


def fitting(cell: object, pixels: tuple[int, ...]) -> bool:
    """Tells whether a cell holds an image of the schema's shape."""
    return isinstance(cell, np.ndarray) and cell.dtype == np.uint8 and cell.shape == pixels
