"""How raw values of a column are read: as numbers on its axis, or as one of its categories.

Records come from CSV files (all text), Parquet and SQL (typed), so the same category may arrive
as `1`, `1.0`, `"1"` or `" 1"`. Reading depends on the schema and on the value alone, never on
other records, and never fails: what cannot be read is marked as such.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fedloom.common.schema import Bound, Column

__all__ = ["Cells", "axis_value", "category_key", "read_categories", "read_numbers"]

_EPOCH = dt.datetime(1970, 1, 1)
_DAY_S = 86_400
_FINER = re.compile(r"(\.\d{6})\d+")
_TRUTH = {"true": "1.0", "false": "0.0"}

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
    codes, uniques = pd.factorize(_category_texts(raw), use_na_sentinel=True)
    known = np.array(
        [_position(positions, str(text)) for text in uniques] + [-1],
        dtype=np.int64,
    )
    missing = codes < 0
    values = known[codes]
    return Cells(values, missing, (values < 0) & ~missing, np.zeros(len(raw), dtype=bool))


def category_key(text: str) -> str:
    """Returns the form under which categories are compared.

    Numbers compare by value, so that "1" and "1.0" are one category; text without its outer
    white space; the words for true and false as 1 and 0.

    >>> category_key("1.0") == category_key(" 1") == category_key("True") != category_key("one")
    True
    """
    text = text.strip()
    if text.lower() in _TRUTH:
        return _TRUTH[text.lower()]
    try:
        number = float(text)
    except ValueError:
        return text
    return repr(number) if math.isfinite(number) else text


def _positions(column: Column) -> dict[str, int]:
    """Maps texts to positions: exact texts first, then keys that only one category has."""
    keys = [category_key(value) for value in column.values]
    positions = {key: i for i, key in enumerate(keys) if keys.count(key) == 1}
    return positions | {value: i for i, value in enumerate(column.values)}


def _position(positions: dict[str, int], text: str) -> int:
    for form in (text, text.strip(), category_key(text)):
        if form in positions:
            return positions[form]
    return -1


def _category_texts(raw: pd.Series) -> npt.NDArray[Any]:
    """Returns every value as text, None where missing; equal numbers of two types stay apart."""
    missing = raw.isna().to_numpy(dtype=bool)
    values: npt.NDArray[Any] = raw.to_numpy(dtype=object)
    if raw.dtype == object:
        values = np.array([str(value) for value in values], dtype=object)
    elif not pd.api.types.is_string_dtype(raw.dtype):
        codes, uniques = pd.factorize(values)
        values = np.array([str(value) for value in uniques] + [None], dtype=object)[codes]
    values = values.copy()
    values[missing] = None
    return values


def _numbers(raw: pd.Series) -> npt.NDArray[np.float64]:
    if isinstance(raw.dtype, pd.CategoricalDtype):
        raw = raw.astype(object)
    if raw.dtype == object:
        raw = pd.Series([_plain(value) for value in raw], dtype=object)
    numeric = pd.api.types.is_numeric_dtype(raw.dtype) or pd.api.types.is_bool_dtype(raw.dtype)
    textual = raw.dtype == object or pd.api.types.is_string_dtype(raw.dtype)
    if not (numeric or textual) or pd.api.types.is_complex_dtype(raw.dtype):
        return np.full(len(raw), np.nan)
    numbers = pd.to_numeric(raw, errors="coerce")
    return np.asarray(numbers.to_numpy(dtype=np.float64, na_value=np.nan), dtype=np.float64)


def _plain(value: object) -> str | float | None:
    """Returns a value that is read alone, whatever stands beside it in the column."""
    if isinstance(value, str):
        return value
    if not isinstance(value, (int, float, Decimal, np.number, np.bool_)):
        return None
    if isinstance(value, np.complexfloating):
        return None
    try:
        return float(value)
    except (OverflowError, ValueError):
        return None


def _times(raw: pd.Series) -> npt.NDArray[np.float64]:
    """Returns seconds since 1970, floored; NaN where the value is no ISO time."""
    if isinstance(raw.dtype, pd.DatetimeTZDtype):
        raw = raw.dt.tz_convert("UTC")
    elif not pd.api.types.is_datetime64_any_dtype(raw.dtype):
        texts = np.array([_time_text(value) for value in raw.to_numpy(dtype=object)], dtype=object)
        raw = pd.Series(pd.to_datetime(texts, errors="coerce", utc=True, format="ISO8601"))
    times = raw.dt.tz_localize(None).astype("datetime64[us]")
    micros = times.to_numpy().astype(np.int64)
    seconds: npt.NDArray[np.float64] = (micros // 1_000_000).astype(np.float64)
    seconds[times.isna().to_numpy()] = np.nan
    return seconds


def _time_text(value: object) -> str | None:
    if isinstance(value, (dt.date, np.datetime64)):
        value = str(value)
    if not isinstance(value, str) or not value.isascii():
        return None
    # Finer fractions would make pandas choose a unit that other values may not fit.
    return _FINER.sub(r"\1", value.strip()) if "." in value else value.strip()
