"""The data files of a release, and whether they say what the schema allows.

`data/synthetic.csv` is UTF-8 with a header, empty cells for missing values and ISO dates;
`data/synthetic.parquet` holds the same rows, typed.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from fedloom.common.constraints import violations
from fedloom.common.encoding import Encoding
from fedloom.common.errors import ConfigError, ReleaseError

__all__ = ["CSV", "PARQUET", "problems_of_data", "read_csv", "write_table"]

CSV = "data/synthetic.csv"
PARQUET = "data/synthetic.parquet"


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Writes rows as CSV or Parquet, by the file's ending.

    Raises:
      ConfigError: the ending is another.
    """
    if path.suffix == ".csv":
        frame.to_csv(path, index=False, lineterminator="\n", encoding="utf-8")
    elif path.suffix == ".parquet":
        frame.to_parquet(path, index=False)
    else:
        raise ConfigError(f"{path}: rows are written as .csv or .parquet; choose one of the two")


def read_csv(path: Path) -> pd.DataFrame:
    """Reads a CSV of a release as text; only an empty cell is missing."""
    return pd.read_csv(path, dtype=object, keep_default_na=False, na_values=[""])


def problems_of_data(folder: Path, encoding: Encoding) -> list[str]:
    """Names what in a release's data files does not conform to the schema.

    Args:
      folder: the release.
      encoding: of the plan's schema.

    Returns:
      One line a problem: unreadable files, other columns, values outside bounds or categories,
      missing values where the schema has none, broken constraints, CSV and Parquet that differ.
    """
    try:
        typed = pd.read_parquet(folder / PARQUET)
        text = read_csv(folder / CSV)
    except (OSError, ValueError) as error:
        raise ReleaseError(f"{folder}: the data files cannot be read: {error}") from error
    problems = []
    for name, frame in ((PARQUET, typed), (CSV, text)):
        if tuple(frame.columns) != encoding.schema.names:
            problems.append(f"{name}: its columns are not those of the schema, in order")
    if problems:
        return problems
    for name, frame in ((PARQUET, typed), (CSV, text)):
        encoded = encoding.encode(frame)
        for column in encoding.schema.columns:
            where = f"{name}, column '{column.name}':"
            if encoded.clamped[column.name]:
                count = encoded.clamped[column.name]
                problems.append(f"{where} {count} numbers outside the bounds, or not whole")
            if encoded.unknown[column.name]:
                count = encoded.unknown[column.name]
                problems.append(f"{where} {count} values that the schema does not know")
            if encoded.missing[column.name] and not column.nullable and column.other is None:
                problems.append(f"{where} {encoded.missing[column.name]} missing values")
        problems += [
            f"{name}: {count} rows break the constraint {rule}"
            for rule, count in violations(frame, encoding.schema).items()
            if count
        ]
    if len(typed) != len(text):
        problems.append(f"{CSV} has {len(text)} rows, {PARQUET} has {len(typed)}")
    elif not (encoding.encode(typed).codes == encoding.encode(text).codes).all():
        problems.append(f"{CSV} and {PARQUET} hold different rows")
    problems += [
        f"{PARQUET}, column '{column.name}': its type is {typed[column.name].dtype}, "
        f"not that of kind '{column.kind}'"
        for column in encoding.schema.columns
        if not _typed(typed[column.name], column.kind)
    ]
    return problems


def _typed(values: pd.Series, kind: str) -> bool:
    types = pd.api.types
    tests = {
        "integer": (types.is_integer_dtype,),
        "real": (types.is_float_dtype,),
        "datetime": (types.is_datetime64_any_dtype,),
        "category": (types.is_object_dtype, types.is_string_dtype),
    }
    return any(test(values.dtype) for test in tests[kind])
