"""Writes drawn records with images in forms that a site's source can have."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedloom.common.npz import npz_bytes
from fedloom.common.records.image import IMAGE
from fedloom.common.times import times_as_text
from fedloom.privacy.release.report.sheets import png

__all__ = ["write_folder", "write_npz"]

_FILE = "file"
_TABLE = "records.csv"


def write_npz(chunks: Iterable[pd.DataFrame], path: Path) -> int:
    """Writes an array `image` and one for each column, and returns the number of records."""
    frames = list(chunks)
    images = np.stack([image for frame in frames for image in frame[IMAGE]])
    columns = pd.concat([_texts(frame) for frame in frames], ignore_index=True)
    arrays = {name: _plain(columns[name]) for name in columns.columns}
    path.write_bytes(npz_bytes({IMAGE: images, **arrays}, compressed=True))
    return len(images)


def _plain(column: pd.Series) -> NDArray[Any]:
    """Returns numbers as numbers and all else as text, empty where a value is missing."""
    if pd.api.types.is_numeric_dtype(column.dtype) and not column.isna().any():
        numbers: NDArray[Any] = column.to_numpy()
        return numbers
    return np.array(["" if pd.isna(value) else str(value) for value in column], dtype=str)


def write_folder(chunks: Iterable[pd.DataFrame], path: Path) -> int:
    """Makes a folder with a PNG for each record and `records.csv`, whose column `file` names it."""
    path.mkdir()
    count, tables = 0, []
    for frame in chunks:
        names = [f"{count + number:07d}.png" for number in range(len(frame))]
        for name, image in zip(names, frame[IMAGE], strict=True):
            (path / name).write_bytes(png(image))
        table = _texts(frame)
        table.insert(0, _FILE, names)
        tables.append(table)
        count += len(frame)
    pd.concat(tables, ignore_index=True).to_csv(path / _TABLE, index=False, lineterminator="\n")
    return count


def _texts(frame: pd.DataFrame) -> pd.DataFrame:
    return times_as_text(frame.drop(columns=[IMAGE]))
