"""Reads the data files of a release piece by piece, having looked first at what they would cost.

Parquet can hold billions of rows in a few bytes, and a page that grows a thousandfold when it is
unpacked. So the rows that its footer names must be those that the manifest states, nothing in it
may be compressed, and texts are looked at in their dictionaries, once each, before they are
repeated row by row. What is left costs memory for a piece, and time by the size of the files.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from fedloom.common.errors import ReleaseError
from fedloom.common.schema import Column, Schema
from fedloom.common.set_cells import read_sets, sets_as_text
from fedloom.privacy.release.data import CSV, PARQUET, TEXT_CELLS

__all__ = ["PIECE_ROWS", "csv_pieces", "parquet_pieces"]

PIECE_ROWS = 1 << 16
_FOOTER_BYTES = 1 << 24
_FOOTER_ITEMS = 1 << 20
_TEXTS = ("category", "set")
_NOTES = {b"ARROW:schema", b"pandas"}


def parquet_pieces(folder: Path, schema: Schema, rows: int) -> Iterator[pd.DataFrame]:
    """Yields the rows of a release's Parquet file in pieces of `PIECE_ROWS`, the last one shorter.

    Args:
      folder: the release.
      schema: of the rows.
      rows: how many the manifest states.

    Raises:
      ReleaseError: the file cannot be read; its footer names other columns, types or rows, or
        more than columns; something in it is compressed; or a text is not one of the schema's.
    """
    try:
        with _opened(folder, []) as file:
            _check_footer(file, schema, rows)
        texts = [column.name for column in schema.columns if column.kind in _TEXTS]
        with _opened(folder, texts) as file:
            waiting: list[pa.RecordBatch] = []
            for batch in file.iter_batches(batch_size=PIECE_ROWS):
                waiting.append(batch)
                while sum(len(part) for part in waiting) >= PIECE_ROWS:
                    table = pa.Table.from_batches(waiting)
                    yield _frame(table.slice(0, PIECE_ROWS), schema)
                    waiting = table.slice(PIECE_ROWS).to_batches()
            if waiting:
                yield _frame(pa.Table.from_batches(waiting), schema)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise ReleaseError(f"{PARQUET} cannot be read: {error}") from error


def csv_pieces(folder: Path, schema: Schema) -> Iterator[pd.DataFrame]:
    """Yields the rows of a release's CSV as text in pieces of `PIECE_ROWS`.

    Only an empty cell is missing.

    Raises:
      ReleaseError: the file cannot be read, or its columns are not the schema's, in order.
    """
    try:
        with pd.read_csv(folder / CSV, chunksize=PIECE_ROWS, **TEXT_CELLS) as pieces:
            for piece in pieces:
                if tuple(piece.columns) != schema.names:
                    raise ReleaseError(f"{CSV}: its columns are not those of the schema, in order")
                yield piece.reset_index(drop=True)
    except (OSError, ValueError) as error:
        raise ReleaseError(f"{CSV} cannot be read: {error}") from error


def _opened(folder: Path, texts: list[str]) -> pq.ParquetFile:
    """Opens the Parquet file; the columns `texts` will be read as dictionaries."""
    return pq.ParquetFile(
        folder / PARQUET,
        read_dictionary=texts,
        thrift_string_size_limit=_FOOTER_BYTES,
        thrift_container_size_limit=_FOOTER_ITEMS,
    )


def _check_footer(file: pq.ParquetFile, schema: Schema, rows: int) -> None:
    footer, columns = file.metadata, file.schema_arrow
    if footer.num_rows != rows:
        raise ReleaseError(
            f"{PARQUET} has {footer.num_rows:,} rows, the manifest states {rows:,}; it was not read"
        )
    if tuple(columns.names) != schema.names or footer.num_columns != len(schema.columns):
        raise ReleaseError(f"{PARQUET}: its columns are not those of the schema, in order")
    for column in schema.columns:
        kind = columns.field(column.name).type
        if not _is_typed(kind, column):
            raise ReleaseError(
                f"{PARQUET}, column '{column.name}': its type is {kind}, not that of kind "
                f"'{column.kind}'"
            )
    if set(footer.metadata or {}) - _NOTES:
        raise ReleaseError(f"{PARQUET} holds more than columns in its footer")
    for group in range(footer.num_row_groups):
        part = footer.row_group(group)
        for number in range(part.num_columns):
            if part.column(number).compression != "UNCOMPRESSED":
                raise ReleaseError(
                    f"{PARQUET} is compressed, so that it may grow without bound when it is read; "
                    "a release's is not"
                )


def _is_typed(kind: pa.DataType, column: Column) -> bool:
    if column.kind in _TEXTS:
        return kind in (pa.string(), pa.large_string())
    if column.kind == "datetime":
        return bool(pa.types.is_timestamp(kind) and kind.tz is None)
    return bool(kind == (pa.int64() if column.kind == "integer" else pa.float64()))


def _frame(table: pa.Table, schema: Schema) -> pd.DataFrame:
    """Returns a piece as pandas has it, texts checked before they are repeated."""
    parts: dict[str, Any] = {}
    for column in schema.columns:
        values = table.column(column.name)
        if column.kind in _TEXTS:
            for chunk in values.chunks:
                strange = _strange(column, chunk.dictionary.to_pylist())
                if strange:
                    raise ReleaseError(
                        f"{PARQUET}, column '{column.name}': {strange[0]!r:.60} is no value that "
                        "the schema knows"
                    )
            values = values.cast(pa.string())
        parts[column.name] = values.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)
    return pd.DataFrame(parts)


def _strange(column: Column, texts: list[str]) -> list[str]:
    """Returns the texts that are no value of a column; a set's are written in one way alone."""
    if column.kind == "category":
        known = {*column.values, column.other}
        return [text for text in texts if text not in known]
    cells = read_sets(column, pd.Series(texts, dtype=object))
    again = sets_as_text(column, cells.items, cells.missing)
    return [text for text, right in zip(texts, again, strict=True) if text != right]
