"""Loads a file with all of its columns, whatever they are: for drafts of a schema alone."""

from __future__ import annotations

import pandas as pd
import pyarrow.parquet

from fedloom.client.sources.config import SourceConfig
from fedloom.client.sources.csv import read_csv
from fedloom.client.sources.parquet import read_parquet
from fedloom.client.sources.table import require_columns
from fedloom.common.errors import DataError

__all__ = ["load_whole"]


def load_whole(source: SourceConfig) -> pd.DataFrame:
    """Loads every column of a CSV or Parquet file, cells as they are written.

    Raises:
      DataError: the file cannot be read, or two of its columns have one name.
    """
    path = source.path
    if path is None or not path.is_file():
        raise DataError(f"{path}: no such file; give the path of a CSV or Parquet file")
    if path.suffix.lower() in (".parquet", ".pq"):
        try:
            names = tuple(pyarrow.parquet.read_schema(path).names)
        except (pyarrow.ArrowException, OSError) as error:
            raise DataError(f"{path}: not a Parquet file: {error}; write it again") from None
        return read_parquet(path, names, require_columns)
    header: list[str] = []
    read_csv(path, (), lambda found, *_: header.extend(found))
    return read_csv(path, tuple(header), require_columns)
