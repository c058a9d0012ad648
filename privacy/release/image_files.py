"""The images of a release: one NumPy file beside the table, in the order of its rows.

`data/images.npy` is (rows, height, width, channels) uint8 in C order. It is read with a bounded
header and mapped, never unpacked or unpickled, and holds nothing after its last image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.lib import format as npy
from numpy.typing import NDArray

from fedloom.common.encoding import Encoding
from fedloom.common.errors import ReleaseError
from fedloom.common.images.coder import image_settings
from fedloom.common.records.image import IMAGE
from fedloom.common.schema import Schema
from fedloom.privacy.release.layout import TABLE_BYTES
from fedloom.privacy.release.table_files import TableFiles

__all__ = ["IMAGES", "ImageFiles", "mapped_images"]

Array = NDArray[Any]

IMAGES = "data/images.npy"
_MAX_HEADER = 1024
_VERSION = (1, 0)


class ImageFiles(TableFiles):
    """A table's two files with the columns, and the images beside them in the order of the rows."""

    sizes: ClassVar[Mapping[str, int]] = {**TableFiles.sizes, IMAGES: TABLE_BYTES}

    def write(self, frame: pd.DataFrame, folder: Path) -> None:
        """Writes columns and images."""
        super().write(frame.drop(columns=[IMAGE]), folder)
        _write(list(frame[IMAGE]), folder)

    def check(
        self, folder: Path, encoding: Encoding, rows: int, on_rows: Callable[[int], None]
    ) -> str:
        """Looks at every value of the columns, and at the form of the images."""
        found = super().check(folder, encoding, rows, on_rows)
        mapped_images(folder, encoding.schema, rows)
        return f"{found}; an image for each"

    def pieces(self, folder: Path, schema: Schema, rows: int) -> Iterator[pd.DataFrame]:
        """Yields columns and images."""
        images, start = mapped_images(folder, schema, rows), 0
        for piece in super().pieces(folder, schema, rows):
            yield piece.assign(**{IMAGE: list(images[start : start + len(piece)])})
            start += len(piece)

    def differing(
        self, held: pd.DataFrame, drawn: pd.DataFrame, schema: Schema
    ) -> NDArray[np.bool_]:
        """Compares columns value by value, and images pixel by pixel."""
        pairs = zip(held[IMAGE], drawn[IMAGE], strict=True)
        images = np.array([not np.array_equal(*pair) for pair in pairs], dtype=bool)
        differ: NDArray[np.bool_] = super().differing(held, drawn, schema) | images
        return differ

    def typed(self, frame: pd.DataFrame, schema: Schema) -> pd.DataFrame:
        """Returns records in the types of the schema's columns, their images in the last one."""
        return super().typed(frame, schema).assign(**{IMAGE: list(frame[IMAGE])})

    def read(self, folder: Path, schema: Schema, form: str) -> pd.DataFrame:
        """Reads the columns of either file, and the images."""
        columns = super().read(folder, schema, form)
        return columns.assign(**{IMAGE: list(mapped_images(folder, schema, len(columns)))})


def mapped_images(folder: Path, schema: Schema, rows: int) -> Array:
    """Returns the images of a release, (rows, height, width, channels) uint8, mapped.

    Raises:
      ReleaseError: the file cannot be read, or holds other images or more than images.
    """
    shape, path = image_settings(schema).shape, folder / IMAGES
    wanted = (rows, shape.height, shape.width, shape.channels)
    try:
        with path.open("rb") as stream:
            if npy.read_magic(stream) != _VERSION:
                raise ReleaseError(f"{IMAGES} is of another version than a release's")
            found, fortran, kind = npy.read_array_header_1_0(stream, max_header_size=_MAX_HEADER)
            start = stream.tell()
    except (OSError, ValueError, EOFError) as error:
        raise ReleaseError(f"{IMAGES} cannot be read: {error}") from error
    if found != wanted or fortran or kind != np.dtype(np.uint8):
        raise ReleaseError(f"{IMAGES} holds {kind} of the shape {found}, not uint8 of {wanted}")
    if path.stat().st_size != start + int(np.prod(wanted, dtype=np.int64)):
        raise ReleaseError(f"{IMAGES} holds more or less than its images")
    if not rows:
        return np.zeros(wanted, dtype=np.uint8)
    return np.memmap(path, dtype=np.uint8, mode="r", offset=start, shape=wanted)


def _write(images: list[Array], folder: Path) -> None:
    pixels = images[0].shape
    with (folder / IMAGES).open("wb") as stream:
        header = {"descr": "|u1", "fortran_order": False, "shape": (len(images), *pixels)}
        npy.write_array_header_1_0(stream, header)
        for image in images:
            stream.write(np.ascontiguousarray(image, dtype=np.uint8).tobytes())
