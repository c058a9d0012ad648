"""Writes a table chunk by chunk as CSV or Parquet; the file is complete or absent."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from fedloom.common.errors import ConfigError, DiskFullError, FedloomError
from fedloom.common.files import NOTHING_LOST, disk_is_full, replacing
from fedloom.common.times import times_as_text

__all__ = ["ENDINGS", "check_ending", "not_written", "write_chunks"]

ENDINGS = (".csv", ".parquet")


def check_ending(path: Path) -> None:
    """Refuses a path that ends in neither `.csv` nor `.parquet`.

    Raises:
      ConfigError: it does.
    """
    if path.suffix not in ENDINGS:
        raise ConfigError(f"{path}: rows are written as .csv or .parquet; choose one of the two")


def write_chunks(chunks: Iterable[pd.DataFrame], path: Path) -> int:
    """Writes tables with the same columns one after the other, and returns the number of rows.

    Memory holds one chunk at a time; in Parquet each is a row group.

    Args:
      chunks: At least one table.
      path: Ends in `.csv` or `.parquet`; what is there is replaced when all is written.

    Raises:
      ConfigError: the ending is another, or the file cannot be written.
      DiskFullError: the disk is full.
    """
    check_ending(path)
    write = _write_csv if path.suffix == ".csv" else _write_parquet
    try:
        with replacing(path, shared=True) as partial:
            return write(chunks, partial)
    except OSError as error:
        raise not_written(path, error) from error


def not_written(path: Path, error: OSError) -> FedloomError:
    """Returns the error that says why a file could not be written, and what to do."""
    if disk_is_full(error):
        return DiskFullError(f"the disk is full: {path} could not be written; {NOTHING_LOST}")
    reason = error.strerror or error
    return ConfigError(f"{path} cannot be written: {reason}; choose another path")


def _write_csv(chunks: Iterable[pd.DataFrame], path: Path) -> int:
    rows = 0
    with path.open("w", encoding="utf-8", newline="") as stream:
        for number, chunk in enumerate(chunks):
            as_text = times_as_text(chunk)
            as_text.to_csv(stream, index=False, header=number == 0, lineterminator="\n")
            rows += len(chunk)
    return rows


def _write_parquet(chunks: Iterable[pd.DataFrame], path: Path) -> int:
    rows, writer = 0, None
    try:
        for chunk in chunks:
            table = pa.Table.from_pandas(chunk, preserve_index=False)
            writer = writer or pq.ParquetWriter(path, table.schema)
            writer.write_table(table)
            rows += len(chunk)
    finally:
        if writer is not None:
            writer.close()
    return rows
