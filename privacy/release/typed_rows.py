"""The rows of a release as a typed table: the same types from CSV as from Parquet.

    integer    Int64
    real       float64
    category   category; all categories of the schema in its order, then the label of others
    datetime   datetime64[s], at midnight in columns of dates
    set        object: text with the separator between the items, in the order of the schema

Missing values are `<NA>`, NaN, None or NaT, as each type has it; so is an empty set, but where the
column is nullable: there it is the separator alone. A type follows from the schema alone,
never from what stands in a column, so two releases of one schema agree.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fedloom.common.column import Column
from fedloom.common.errors import ConfigError, ReleaseError
from fedloom.common.schema import Schema
from fedloom.common.set_cells import read_sets, sets_as_text
from fedloom.privacy.release.data import CSV, PARQUET, read_csv

__all__ = ["FORMATS", "dtypes", "read_typed", "typed"]

FORMATS = {"parquet": PARQUET, "csv": CSV}


def dtypes(schema: Schema) -> dict[str, Any]:
    """Returns the type of each column, by name.

    >>> column = {"name": "sex", "kind": "category", "values": ["f", "m"], "other": "unknown"}
    >>> list(dtypes(Schema.from_dict({"column": [column]}))["sex"].categories)
    ['f', 'm', 'unknown']
    """
    return {column.name: _dtype(column) for column in schema.columns}


def typed(frame: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """Returns a table with the schema's columns in these types, whatever types it had.

    Args:
      frame: Rows that fit the schema, as text or typed.
      schema: Of the release.

    Raises:
      ReleaseError: a column is missing, or a value is none of its kind; names the column.
    """
    columns = {}
    for column in schema.columns:
        if column.name not in frame:
            raise ReleaseError(f"column '{column.name}' is missing; fetch the release again")
        try:
            columns[column.name] = _typed(frame[column.name], column)
        except (ValueError, TypeError, OverflowError) as error:
            raise ReleaseError(
                f"column '{column.name}' holds what is no value of kind {column.kind!r} "
                f"({error}); fetch the release again"
            ) from None
    return pd.DataFrame(columns)


def read_typed(folder: Path, schema: Schema, form: str) -> pd.DataFrame:
    """Reads the rows of a release.

    Args:
      folder: The release.
      schema: Of the release.
      form: "parquet" or "csv".

    Raises:
      ConfigError: `form` is another.
      ReleaseError: the file cannot be read, or does not hold the schema's columns.
    """
    if form not in FORMATS:
        raise ConfigError(f"format is {form!r}; choose one of {', '.join(FORMATS)}")
    path = folder / FORMATS[form]
    try:
        frame = read_csv(path) if form == "csv" else pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise ReleaseError(f"{path} cannot be read: {error}; fetch the release again") from None
    return typed(frame, schema)


def _dtype(column: Column) -> Any:
    if column.kind == "category":
        labels = [*column.values, *([] if column.other is None else [column.other])]
        return pd.CategoricalDtype(pd.Index(labels, dtype=object))
    if column.kind == "integer":
        return pd.Int64Dtype()
    if column.kind == "set":
        return np.dtype(object)
    return np.dtype("float64" if column.kind == "real" else "datetime64[s]")


def _typed(raw: pd.Series, column: Column) -> pd.Series:
    dtype = _dtype(column)
    missing = raw.isna()
    cells = list(zip(raw, missing, strict=True))
    if column.kind == "category":
        texts = np.array([None if gap else str(value) for value, gap in cells], dtype=object)
        codes = dtype.categories.get_indexer(texts)
        if ((codes < 0) != missing.to_numpy()).any():
            raise ValueError("a text is none of the categories")
        return pd.Series(pd.Categorical.from_codes(codes, dtype=dtype))
    if column.kind == "set":
        return _sets(raw, column)
    if column.kind == "integer":
        whole = [0 if gap else int(value) for value, gap in cells]
        mask = missing.to_numpy(dtype=bool)
        return pd.Series(pd.arrays.IntegerArray(np.array(whole, dtype=np.int64), mask.copy()))
    if column.kind == "real":
        numbers = [np.nan if gap else float(value) for value, gap in cells]
        return pd.Series(np.array(numbers, dtype=np.float64))
    if pd.api.types.is_datetime64_any_dtype(raw.dtype):
        return raw.reset_index(drop=True).astype(dtype)
    times = [np.datetime64("NaT") if gap else value for value, gap in cells]
    return pd.Series(np.array(times, dtype="datetime64[s]"))


def _sets(raw: pd.Series, column: Column) -> pd.Series:
    cells = read_sets(column, raw)
    if cells.unknown.any() or cells.cut.any():
        raise ValueError("an item is not in the list, or there are more than max_items")
    return pd.Series(sets_as_text(column, cells.items, cells.missing), dtype=object)
