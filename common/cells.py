"""How raw values of a column are read: as numbers on its axis, or as one of its categories.

Records come from CSV files (all text), Parquet and SQL (typed), so the same category may arrive
as `1`, `1.0`, `"1"` or `" 1"`. Reading depends on the schema and on the value alone, never on
other records, and never fails: what cannot be read is marked as such.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from fedloom.common.schema import Bound, Column

__all__ = ["Cells", "axis_value", "category_key", "read_categories", "read_numbers"]

_EPOCH = dt.datetime(1970, 1, 1)
_DAY_S = 86_400

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """The values of a column, read.

    Attributes:
      values: Numbers on the column's axis (float64), or positions in `Column.values` (int64);
        meaningless where `missing` or `unreadable`.
      missing: Where there is no value.
      unreadable: Where the value is no number, no time, or none of the categories.
      rounded: Where a fraction was cut off to fit an integer column.
    """

    values: npt.NDArray[Any]
    missing: Mask
    unreadable: Mask
    rounded: Mask


def axis_value(bound: Bound, *, dates_only: bool = False) -> float:
    """Returns a bound as a number on its column's axis: days or seconds since 1970 for times.

    >>> axis_value(dt.date(1970, 1, 11), dates_only=True)
    10.0
    """
    if isinstance(bound, dt.date):
        time = bound if isinstance(bound, dt.datetime) else dt.datetime(*bound.timetuple()[:3])
        return float((time - _EPOCH) // dt.timedelta(seconds=_DAY_S if dates_only else 1))
    return float(bound)


def read_numbers(column: Column, raw: pd.Series) -> Cells:
    """Reads an integer, real or datetime column; never fails."""
    missing = raw.isna().to_numpy(dtype=bool)
    if column.kind == "datetime":
        numbers = _times(raw)
        if column.dates_only:
            numbers = np.floor(numbers / _DAY_S)
    else:
        numbers = _numbers(raw)
    unreadable = ~np.isfinite(numbers) & ~missing
    rounded = np.zeros(len(raw), dtype=bool)
    numbers = np.where(missing | unreadable, 0.0, numbers)
    if column.kind == "integer":
        whole = np.floor(numbers)
        rounded = whole != numbers
        numbers = whole
    return Cells(numbers, missing, unreadable, rounded)


def read_categories(column: Column, raw: pd.Series) -> Cells:
    """Reads a category column; a value outside the list is marked unreadable; never fails."""
    positions = _positions(column)
    codes, uniques = pd.factorize(raw.to_numpy(dtype=object), use_na_sentinel=True)
    known = np.array(
        [_position(positions, value) for value in cast(npt.NDArray[Any], uniques)] + [-1],
        dtype=np.int64,
    )
    missing = codes < 0
    values = known[codes]
    return Cells(values, missing, (values < 0) & ~missing, np.zeros(len(raw), dtype=bool))


def category_key(value: object) -> str:
    """Returns the form under which categories are compared.

    Numbers compare by value, so that 1, 1.0 and "1" are one category; text without its outer
    white space.

    >>> category_key(1.0) == category_key("1") != category_key("one")
    True
    """
    text = str(value).strip()
    if isinstance(value, (bool, np.bool_)):
        return text.lower()
    try:
        number = float(text)
    except ValueError:
        return text
    return repr(number) if np.isfinite(number) else text


def _positions(column: Column) -> dict[str, int]:
    """Maps texts to positions: exact texts first, then keys that only one category has."""
    keys = [category_key(value) for value in column.values]
    positions = {key: i for i, key in enumerate(keys) if keys.count(key) == 1}
    for i, value in enumerate(column.values):
        if value.lower() in ("true", "false") and keys.count(value) == 1:
            positions.setdefault(value.lower(), i)
    return positions | {value: i for i, value in enumerate(column.values)}


def _position(positions: dict[str, int], value: object) -> int:
    exact = positions.get(str(value))
    if exact is not None:
        return exact
    position = positions.get(category_key(value), -1)
    if position < 0 and isinstance(value, (bool, np.bool_)):
        return positions.get(category_key(int(value)), -1)
    return position


def _numbers(raw: pd.Series) -> npt.NDArray[np.float64]:
    if pd.api.types.is_datetime64_any_dtype(raw.dtype):
        return np.full(len(raw), np.nan)
    numbers = pd.to_numeric(raw, errors="coerce")
    if pd.api.types.is_complex_dtype(numbers.dtype):
        return np.full(len(raw), np.nan)
    return np.asarray(numbers.to_numpy(dtype=np.float64, na_value=np.nan), dtype=np.float64)


def _times(raw: pd.Series) -> npt.NDArray[np.float64]:
    """Returns seconds since 1970, floored; NaN where the value is no ISO time."""
    if not pd.api.types.is_datetime64_any_dtype(raw.dtype):
        if pd.api.types.is_numeric_dtype(raw.dtype):
            return np.full(len(raw), np.nan)
        text = raw.astype(object).where(raw.notna(), None).map(str, na_action="ignore")
        raw = pd.to_datetime(text, errors="coerce", utc=True, format="ISO8601")
    elif raw.dt.tz is not None:
        raw = raw.dt.tz_convert("UTC")
    times = raw.dt.tz_localize(None).astype("datetime64[us]")
    micros = times.to_numpy().astype(np.int64)
    seconds: npt.NDArray[np.float64] = (micros // 1_000_000).astype(np.float64)
    seconds[times.isna().to_numpy()] = np.nan
    return seconds
