"""Loads a site's records as a table with exactly the columns that a study reads.

Whatever the source, a table has the schema's columns in the schema's order, then the column of the
persons' ids where there are persons, and missing values marked as such. Text that stands for a
missing value ("", "?", "NA", ...) is marked in every source, unless the schema lists it among the
column's categories. Cells are handed over one by one: no cell is converted because of what else
stands in its column. Messages of errors are for the site's steward; nothing here is ever sent
anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import pandas as pd

from fedloom.client.sources.config import Source
from fedloom.client.sources.dialect import in_dialect
from fedloom.client.sources.formats import FORMATS
from fedloom.client.sources.options import DEFAULT_MISSING
from fedloom.client.sources.sql import read_sql
from fedloom.client.sources.wanted import find_columns
from fedloom.common.cells import plain_cells
from fedloom.common.errors import DataError
from fedloom.common.parts import load_part
from fedloom.common.schema import Schema
from fedloom.common.text import normal

__all__ = ["Table", "load_table", "load_whole"]

Table: TypeAlias = Source | Path | str | pd.DataFrame
_SAVE_AS = {
    (".xls", ".xlsb", ".ods", ".numbers"): "open it in a spreadsheet and save it as .xlsx or CSV",
    (".sav", ".zsav", ".por", ".dta", ".sas7bdat", ".xpt", ".rds", ".rdata"): "export it as CSV",
    (".zip", ".7z", ".bz2", ".xz", ".zst"): "unpack it",
    (".json", ".jsonl", ".xml", ".html"): "write the table as CSV or Parquet",
}


def load_table(source: Table, schema: Schema, *, id_column: str | None = None) -> pd.DataFrame:
    """Loads the schema's columns of a table.

    Args:
      source: A path, a source with the way it is written, or a table in memory.
      schema: Says which columns are read.
      id_column: Read beside them, as the last: says whose row it is. Never synthesised.

    Raises:
      DataError: the source cannot be read or lacks a column; the message is for the steward.
    """
    names = schema.names if id_column is None else (*schema.names, normal(id_column))
    if isinstance(source, pd.DataFrame):
        places = list(find_columns(source.columns, names, "the table").values())
        private_frame = source.iloc[:, places].reset_index(drop=True)
        return _mark_missing(private_frame.set_axis(list(names), axis=1), schema, DEFAULT_MISSING)
    config = source if isinstance(source, Source) else Source(path=source)
    private_frame = _mark_missing(_read(config, names), schema, config.missing)
    for column in schema.columns:
        private_frame[column.name] = in_dialect(column, private_frame[column.name], config)
    return private_frame


def load_whole(source: Source) -> pd.DataFrame:
    """Loads every column of a source, cells as they are written: for drafts of a schema alone.

    Raises:
      DataError: the source cannot be read, or two of its columns have one name.
    """
    return _read(source, None)


def _read(source: Source, names: tuple[str, ...] | None) -> pd.DataFrame:
    kind = source.kind
    if kind == "database":
        return read_sql(source, names)
    if not source.file.exists():
        raise DataError(f"{source.file}: no such file; give the path of a CSV or Parquet file")
    if source.file.is_dir():
        raise DataError(f"{source.file}: is a folder; give the path of a CSV or Parquet file")
    if kind is None:
        raise _unknown_kind(source.file)
    try:
        frame: pd.DataFrame = load_part(FORMATS[kind].reader)(source, names)
        return frame
    except PermissionError:
        raise DataError(f"{source.file}: may not be read by this user; change its rights") from None


def _unknown_kind(path: Path) -> DataError:
    for endings, what_to_do in _SAVE_AS.items():
        if path.name.lower().endswith(endings):
            return DataError(f"{path}: {path.suffix} files are not read; {what_to_do}")
    known = ", ".join(ending for entry in FORMATS.values() for ending in entry.endings)
    return DataError(
        f"{path}: unknown kind of file; name it {known} (text also with .gz), or use a database"
    )


def _mark_missing(
    private_frame: pd.DataFrame, schema: Schema, missing: Sequence[str]
) -> pd.DataFrame:
    said = {column.name: {*column.values, column.other} for column in schema.columns}
    marked = {}
    for name in private_frame.columns:
        values = plain_cells(private_frame[name])
        markers = set(missing) - said.get(name, set())
        if values.dtype == object:
            cells = values.to_numpy(dtype=object, copy=True)
            cells[[isinstance(cell, str) and normal(cell).strip() in markers for cell in cells]] = (
                None
            )
            values = pd.Series(cells, dtype=object)
        elif pd.api.types.is_string_dtype(values.dtype):
            values = values.mask(values.str.strip().isin(list(markers)))
        marked[name] = values
    return pd.DataFrame(marked)
