"""Records in CSV and TSV files, read as text; the schema alone says what the text means."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import pandas as pd

from fedloom.common.errors import DataError

__all__ = ["read_csv"]


def read_csv(
    path: Path, names: tuple[str, ...], require: Callable[[list[str], tuple[str, ...], str], None]
) -> pd.DataFrame:
    """Reads the columns `names` of a CSV or TSV file with a header, plain or gzipped, in UTF-8.

    Args:
      path: The file.
      names: Columns to read.
      require: Refuses a header that lacks a column.

    Raises:
      DataError: the file is not such a table.
    """
    separator = "\t" if ".tsv" in path.name.lower() else ","
    try:
        with _open(path) as stream:
            first = next(csv.reader(stream, delimiter=separator), None)
            if first is None:
                raise DataError(f"{path}: the file is empty; it needs a header and records")
            header = [name.strip() for name in first]
            require(header, names, str(path))
            frame = _rows(stream, separator, len(header), path)
    except (OSError, UnicodeDecodeError, csv.Error, EOFError) as error:
        raise DataError(f"{path}: cannot be read as text: {error}; save it as UTF-8") from None
    return pd.DataFrame({name: frame[header.index(name)] for name in names})


def _rows(stream: TextIO, separator: str, num_cells: int, path: Path) -> pd.DataFrame:
    """Reads what follows the header; a row of another length is an error, never shifted."""
    try:
        frame: pd.DataFrame = pd.read_csv(
            stream,
            sep=separator,
            header=None,
            dtype=str,
            keep_default_na=False,
            na_filter=False,
            skipinitialspace=True,
        )
    except pd.errors.EmptyDataError:
        return pd.DataFrame({position: pd.Series(dtype=str) for position in range(num_cells)})
    except pd.errors.ParserError as error:
        raise DataError(f"{path}: not a table: {error}; give every row {num_cells} cells") from None
    if frame.shape[1] != num_cells:
        raise DataError(
            f"{path}: the header names {num_cells} columns, but rows have {frame.shape[1]} cells; "
            "give every row one cell for each column"
        )
    return frame


def _open(path: Path) -> TextIO:
    if path.name.lower().endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")
