"""Loads a site's records as a table with exactly the columns that a study reads.

Whatever the source, a table has the schema's columns in the schema's order, then the column of the
persons' ids where there are persons, and missing values marked as such. Text that stands for a
missing value ("", "?", "NA", ...) is marked in every source, unless the schema lists it among the
column's categories. Cells are handed over one by one: no cell is converted because of what else
stands in its column. Messages of errors are for the site's steward; nothing here is ever sent
anywhere.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from fedloom.client.sources.config import SourceConfig
from fedloom.client.sources.csv import read_csv
from fedloom.client.sources.parquet import read_parquet
from fedloom.client.sources.sql import read_sql
from fedloom.common.cells import plain_cells
from fedloom.common.errors import DataError
from fedloom.common.schema import Schema

__all__ = ["load_table", "require_columns"]

_CSV = (".csv", ".csv.gz", ".tsv", ".tsv.gz")
_PARQUET = (".parquet", ".pq")


def load_table(
    source: SourceConfig | Path | str | pd.DataFrame,
    schema: Schema,
    *,
    id_column: str | None = None,
) -> pd.DataFrame:
    """Loads the schema's columns of a table.

    Args:
      source: A path, the configuration of a source, or a table in memory.
      schema: Says which columns are read.
      id_column: Read beside them, as the last: says whose row it is. Never synthesised.

    Raises:
      DataError: the source cannot be read or lacks a column; the message is for the steward.
    """
    names = schema.names if id_column is None else (*schema.names, id_column)
    if isinstance(source, pd.DataFrame):
        require_columns([str(name) for name in source.columns], names, "the table")
        private_frame = source[list(names)].reset_index(drop=True)
        missing = SourceConfig(path=Path()).missing
    else:
        config = source if isinstance(source, SourceConfig) else SourceConfig(path=Path(source))
        private_frame = _read(config, names)
        missing = config.missing
    return _mark_missing(private_frame, schema, missing)


def require_columns(present: Iterable[str], wanted: Iterable[str], where: str) -> None:
    """Refuses a table that lacks a column or has one twice.

    Raises:
      DataError: names the table, the column and the remedy.
    """
    names = list(present)
    for name in wanted:
        if names.count(name) > 1:
            raise DataError(f"{where}: column '{name}' appears twice; rename or remove one")
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1)
            hint = f" (did you mean '{close[0]}'?)" if close else ""
            raise DataError(
                f"{where}: no column '{name}'{hint}; it has {', '.join(names) or 'none'}; "
                "rename the column or correct the schema"
            )


def _read(config: SourceConfig, names: tuple[str, ...]) -> pd.DataFrame:
    if config.path is None:
        return read_sql(config, names, require_columns)
    path, name = config.path, config.path.name.lower()
    if not path.exists():
        raise DataError(f"{path}: no such file; give the path of a CSV or Parquet file")
    if path.is_dir():
        raise DataError(f"{path}: is a folder; give the path of a CSV or Parquet file")
    if name.endswith(_CSV):
        return read_csv(path, names, require_columns)
    if name.endswith(_PARQUET):
        return read_parquet(path, names, require_columns)
    known = ", ".join((*_CSV, *_PARQUET))
    raise DataError(f"{path}: unknown kind of file; name it {known}, or use a database")


def _mark_missing(
    private_frame: pd.DataFrame, schema: Schema, missing: tuple[str, ...]
) -> pd.DataFrame:
    said = {column.name: {*column.values, column.other} for column in schema.columns}
    marked = {}
    for name in private_frame.columns:
        values = plain_cells(private_frame[name])
        markers = set(missing) - said.get(name, set())
        if values.dtype == object:
            cells = values.to_numpy(dtype=object, copy=True)
            cells[[isinstance(cell, str) and cell.strip() in markers for cell in cells]] = None
            values = pd.Series(cells, dtype=object)
        elif pd.api.types.is_string_dtype(values.dtype):
            values = values.mask(values.str.strip().isin(list(markers)))
        marked[name] = values
    return pd.DataFrame(marked)
