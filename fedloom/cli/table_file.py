"""Writes a table chunk by chunk as CSV or Parquet; the file is complete or absent."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeAlias

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from fedloom.common.errors import ConfigError, DiskFullError, FedloomError
from fedloom.common.files import NOTHING_LOST, disk_is_full, replacing
from fedloom.common.parts import load_part
from fedloom.common.records import RecordKind
from fedloom.common.times import times_as_text

__all__ = [
    "not_written",
    "write_chunks",
    "write_csv",
    "write_parquet",
    "writer_of",
]


Writer: TypeAlias = Callable[[Iterable[pd.DataFrame], Path], int]


def writer_of(path: Path, kind: RecordKind) -> Writer:
    """Returns what writes drawn records of a kind into a file of this ending.

    Raises:
      ConfigError: records of the kind are not written in files of this ending.
    """
    if path.suffix not in kind.writers:
        endings = " or ".join(ending or "a folder (no ending)" for ending in kind.writers)
        raise ConfigError(f"{path}: records are written as {endings}; choose one of these")
    writer: Writer = load_part(kind.writers[path.suffix])
    return writer


def write_chunks(chunks: Iterable[pd.DataFrame], path: Path, write: Writer) -> int:
    """Writes frames with the same columns one after the other, and returns the number of rows.

    Memory holds one chunk at a time; in Parquet each is a row group.

    Args:
      chunks: At least one table.
      path: what is there is replaced when all is written.
      write: As `writer_of` returned it.

    Raises:
      ConfigError: the file cannot be written.
      DiskFullError: the disk is full.
    """
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


def write_csv(chunks: Iterable[pd.DataFrame], path: Path) -> int:
    """Writes tables one after the other as CSV, and returns the number of rows."""
    rows = 0
    with path.open("w", encoding="utf-8", newline="") as stream:
        for number, chunk in enumerate(chunks):
            as_text = times_as_text(chunk)
            as_text.to_csv(stream, index=False, header=number == 0, lineterminator="\n")
            rows += len(chunk)
    return rows


def write_parquet(chunks: Iterable[pd.DataFrame], path: Path) -> int:
    """Writes tables as row groups of a Parquet file, and returns the number of rows."""
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
