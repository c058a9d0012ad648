"""Loads a site's images and the columns beside them.

Three ways to keep them:

- `records.npz`: an array `image`, (N, height, width) or (N, height, width, channels) uint8, and one
  array (N,) for each column;
- `records.npy`: the images, read as they are needed, beside `records.csv` with one row for each;
- a folder of PNG, JPEG or DICOM files: with one CSV in it whose column `file` names each record's
  file, or with a folder for each value of the schema's only column.

Images must have the schema's size; nothing is scaled, cropped or turned, so what is counted is what
lies there. DICOM alone is brought to it (`dicom`). Messages of errors are for the site's steward;
nothing here is ever sent anywhere.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedloom.client.sources.config import Source
from fedloom.client.sources.dicom import DICOM, read_dicom
from fedloom.client.sources.table import Table, load_table
from fedloom.common.errors import DataError
from fedloom.common.images.coder import image_settings
from fedloom.common.records.image import IMAGE, ImageSettings
from fedloom.common.schema import Schema

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

__all__ = ["PICTURES", "load_images"]

Array = NDArray[Any]

PICTURES = (".png", ".jpg", ".jpeg")
_FILE = "file"
_MODES = {1: "L", 3: "RGB"}
_FORMS = {"L": "grey", "RGB": "RGB"}


def load_images(source: Table, schema: Schema, *, id_column: str | None = None) -> pd.DataFrame:
    """Loads the records of a source, each image in a cell of the column `image`.

    Args:
      source: a path, a source, or a data frame that has the column already.
      schema: says which columns are read, and how large images are.
      id_column: read beside them: says whose record it is.

    Raises:
      DataError: the source cannot be read; the message is for the steward.
    """
    settings = image_settings(schema)
    if isinstance(source, pd.DataFrame):
        if IMAGE not in source.columns:
            raise DataError(f"the table has no column {IMAGE!r} of images; add it")
        frame = load_table(source.drop(columns=[IMAGE]), schema, id_column=id_column)
        frame[IMAGE] = [_shaped(np.asarray(cell), settings) for cell in source[IMAGE]]
        return frame
    path = source.file if isinstance(source, Source) and source.path else None
    if isinstance(source, Source) and path is None:
        raise DataError("images are not read from a database; give a .npz, a .npy or a folder")
    path = Path(str(source)) if path is None else path
    try:
        columns, images = _read(path, schema, settings)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None
    if len(columns) != len(images):
        raise DataError(f"{path}: {len(images)} images, but {len(columns)} records beside them")
    frame = load_table(columns, schema, id_column=id_column)
    frame[IMAGE] = list(images)
    return frame


def _read(path: Path, schema: Schema, settings: ImageSettings) -> tuple[pd.DataFrame, Any]:
    if path.is_dir():
        return _folder(path, schema, settings)
    if not path.exists():
        raise DataError(f"{path}: no such file; give a .npz, a .npy with its CSV, or a folder")
    if path.suffix == ".npz":
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            if IMAGE not in arrays.files:
                raise DataError(f"{path}: has no array {IMAGE!r}; its images belong there")
            held = {name: arrays[name] for name in arrays.files}
        for name, values in held.items():
            if not isinstance(values, np.ndarray):  # NumPy gives other members as bytes
                raise DataError(f"{path}: its member {name!r} is no array; write it with NumPy")
        images = _array(held[IMAGE], path, settings)
        columns = {name: values for name, values in held.items() if name != IMAGE}
        for name, values in columns.items():
            if values.shape != (len(images),):
                raise DataError(
                    f"{path}: array {name!r} has the shape {values.shape}, not one value for each "
                    f"of the {len(images)} images"
                )
        return pd.DataFrame(columns, index=range(len(images))), images
    if path.suffix == ".npy":
        beside = path.with_suffix(".csv")
        if not beside.exists():
            raise DataError(f"{path}: there is no {beside.name} beside it with the columns")
        images = _array(np.load(path, mmap_mode="r", allow_pickle=False), path, settings)
        return pd.read_csv(beside, dtype=object, keep_default_na=False), images
    raise DataError(
        f"{path}: images are read from .npz, from .npy with a CSV beside it, or from a folder of "
        "PNG, JPEG or DICOM files; choose one of these"
    )


def _array(images: Array, path: Path, settings: ImageSettings) -> Array:
    if images.dtype != np.uint8:
        raise DataError(f"{path}: images are {images.dtype}; write them as uint8, 0 to 255")
    if images.ndim == 3:
        images = images[..., None]
    pixels = (settings.height, settings.width, settings.channels)
    if images.shape[1:] != pixels:
        raise DataError(
            f"{path}: images have the shape {images.shape[1:]}, the schema says {pixels}; bring "
            "them to that size, or agree on another schema"
        )
    return images


def _shaped(image: Array, settings: ImageSettings) -> Array:
    pixels = (settings.height, settings.width, settings.channels)
    if image.ndim == 2:
        image = image[..., None]
    if image.dtype != np.uint8 or image.shape != pixels:
        raise DataError(
            f"an image is {image.dtype} of the shape {image.shape}, the schema says uint8 and "
            f"{pixels}; bring all to that form"
        )
    return image


def _folder(path: Path, schema: Schema, settings: ImageSettings) -> tuple[pd.DataFrame, Array]:
    tables = sorted(path.glob("*.csv"))
    if len(tables) > 1:
        raise DataError(f"{path}: has {len(tables)} CSV files; leave the one that names the images")
    if tables:
        columns = pd.read_csv(tables[0], dtype=object, keep_default_na=False)
        if _FILE not in columns.columns:
            raise DataError(f"{tables[0]}: needs a column {_FILE!r} that names each image's file")
        names = [str(name) for name in columns[_FILE]]
    else:
        if len(schema.names) != 1:
            raise DataError(
                f"{path}: has no CSV; folders alone tell one column, the schema has "
                f"{len(schema.names)}"
            )
        files = [
            file
            for folder in sorted(path.iterdir())
            if folder.is_dir()
            for file in sorted(folder.iterdir())
            if file.suffix.lower() in (*PICTURES, DICOM)
        ]
        columns = pd.DataFrame({schema.names[0]: [file.parent.name for file in files]})
        names = [str(file.relative_to(path)) for file in files]
    images = np.zeros(
        (len(names), settings.height, settings.width, settings.channels), dtype=np.uint8
    )
    for number, name in enumerate(names):
        images[number] = _picture(path, name, settings)
    return columns, images


def _picture(folder: Path, name: str, settings: ImageSettings) -> Array:
    from PIL.Image import DecompressionBombError
    from PIL.Image import open as open_picture

    path = folder / name
    ending, inside = path.suffix.lower(), path.resolve().is_relative_to(folder.resolve())
    if ending not in (*PICTURES, DICOM) or not inside:
        raise DataError(f"{path}: is no PNG, JPEG or DICOM file of this folder; correct its name")
    if ending == DICOM:
        return read_dicom(path, settings)
    try:
        with path.open("rb") as stream, open_picture(stream, formats=("PNG", "JPEG")) as picture:
            if picture.size != (settings.width, settings.height):
                raise DataError(
                    f"{path}: is {picture.size[1]} by {picture.size[0]} pixels, the schema says "
                    f"{settings.height} by {settings.width}; bring all images to that size"
                )
            _check_mode(picture, path, settings)
            values = np.asarray(picture)
    except (OSError, EOFError, SyntaxError, DecompressionBombError) as error:
        raise DataError(f"{path}: cannot be read as an image: {error}") from None
    return values.reshape(settings.height, settings.width, settings.channels)


def _check_mode(picture: ImageFile, path: Path, settings: ImageSettings) -> None:
    """Refuses what a conversion would clip, flatten or mix without a word.

    Pillow opens colour of 16 bits as RGB too and cuts it to 8: only the raw mode tells.
    """
    wanted = _MODES[settings.channels]
    raw = {
        str(tile.args[0] if isinstance(tile.args, tuple) else tile.args) for tile in picture.tile
    }
    deep = picture.mode.startswith("I") or any("16" in mode for mode in raw)
    if picture.mode == wanted and not deep and "transparency" not in picture.info:
        return
    form = f"{picture.mode} of 16 bits" if deep else picture.mode
    if "transparency" in picture.info:
        form += " with transparency"
    raise DataError(
        f"{path}: is of mode {form}, the schema's {settings.channels} channels need {wanted} of 8 "
        f"bits; convert all images to 8-bit {_FORMS[wanted]}. Images of 16 bits need a public "
        "window: the same range of values for every image and site, chosen without looking at the "
        "records"
    )
