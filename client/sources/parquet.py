"""Records in Parquet files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow
import pyarrow.parquet

from fedloom.common.errors import DataError

__all__ = ["read_parquet"]


def read_parquet(
    path: Path, names: tuple[str, ...], require: Callable[[list[str], tuple[str, ...], str], None]
) -> pd.DataFrame:
    """Reads the columns `names` of a Parquet file.

    Args:
      path: The file.
      names: Columns to read.
      require: Refuses a file that lacks a column.

    Raises:
      DataError: the file is no such table.
    """
    try:
        require(pyarrow.parquet.read_schema(path).names, names, str(path))
        table = pyarrow.parquet.ParquetFile(path).read(columns=list(names))
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a Parquet file: {error}; write it again") from None
    # Integers with missing values stay integers; as floats, large ones would lose digits.
    frame: pd.DataFrame = table.to_pandas(integer_object_nulls=True, ignore_metadata=True)
    return frame[list(names)]
