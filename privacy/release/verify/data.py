"""Do the data files of a release say what the schema allows, and both the same?"""

from __future__ import annotations

from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from fedloom.common.constraints import violations
from fedloom.common.encoding import Encoding
from fedloom.common.errors import ReleaseError
from fedloom.privacy.release.data import CSV, PARQUET
from fedloom.privacy.release.typed_rows import typed
from fedloom.privacy.release.verify.tables import csv_pieces, parquet_pieces

__all__ = ["check_data", "differing_rows"]

_MAX_PROBLEMS = 5


def check_data(folder: Path, encoding: Encoding, rows: int, on_rows: Callable[[int], None]) -> str:
    """Looks at every value of both files.

    Args:
      folder: the release.
      encoding: of the plan's schema.
      rows: how many the manifest states.
      on_rows: is told how many rows have been looked at since it was last told.

    Returns:
      What was found, for people.

    Raises:
      ReleaseError: a file cannot be read, holds other columns or another number of rows, values
        outside bounds or categories, missing values where the schema has none, or rows that break
        a constraint; or the two files differ.
    """
    pieces = zip_longest(
        parquet_pieces(folder, encoding.schema, rows), csv_pieces(folder, encoding.schema)
    )
    seen = 0
    for binary, text in pieces:
        if binary is None or text is None or len(binary) != len(text):
            raise ReleaseError(f"{CSV} does not have the {rows:,} rows that {PARQUET} has")
        problems = [*_problems(PARQUET, binary, encoding), *_problems(CSV, text, encoding)]
        if problems:
            raise ReleaseError("; ".join(problems[:_MAX_PROBLEMS]))
        differ = differing_rows(*(typed(part, encoding.schema) for part in (binary, text)))
        if differ.any():
            row = seen + int(np.flatnonzero(differ)[0])
            raise ReleaseError(f"{CSV} and {PARQUET} hold different values in row {row:,}")
        seen += len(binary)
        on_rows(len(binary))
    return f"{rows:,} rows; CSV and Parquet agree and conform to the schema"


def differing_rows(one: pd.DataFrame, other: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Tells which rows (N,) of two tables, as `typed` returns them, differ at all."""
    differ = np.zeros(len(one), dtype=bool)
    for name in one.columns:
        missing = one[name].isna().to_numpy(), other[name].isna().to_numpy()
        unequal = (one[name] != other[name]).fillna(True).to_numpy(dtype=bool)
        differ |= (missing[0] != missing[1]) | (unequal & ~missing[0])
    return differ


def _problems(name: str, frame: pd.DataFrame, encoding: Encoding) -> list[str]:
    encoded, problems = encoding.encode(frame), []
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
    return problems
