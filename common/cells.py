"""How raw values of a column are read: as numbers on its axis, or as one of its categories.

Records come from CSV files (all text), Parquet and SQL (typed), so the same category may arrive
as `1`, `1.0`, `"1"`, `" 1"` or `True`. Reading depends on the schema and on the value alone, never
on other records, and never fails: what cannot be read is marked as such.

A cell of a category column has one text, in Unicode's normal form C: text is itself; a number of
any type, a truth value being 1 or 0, is its exact value in plain decimals, so that 1, 1.0,
`Decimal("1.00")` and True are all "1"; anything else is its `str`. The first of these that exists
is its category:

1. the category written exactly so, with the cell's outer white space and then without it;
2. the category written as the cell's key (`category_key`): for "1.0", "01" and "True" that is "1";
3. the one category that has this key; if several have it, as "01" and "001" have, none.

A number and its conversion to float thus fall in one category up to 2^53, and lists such as
["1", "01"] or ["1E50", "1E50.0"] keep codes apart that are written apart. Beyond 2^53 a float no
longer knows which integer it was, so sources hand over integers as integers, whatever else stands
in their column (`fedloom.client.sources`); for a table in memory that is up to its maker.
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
from fedloom.common.text import normal
from fedloom.common.times import read_times

__all__ = [
    "Cells",
    "axis_value",
    "category_key",
    "cell_text",
    "missing_cells",
    "plain_cells",
    "position_of",
    "positions_of",
    "read_categories",
    "read_numbers",
    "read_texts",
]

_EPOCH = dt.datetime(1970, 1, 1)
_DAY_S = 86_400
_TRUTH = {"true": "1", "false": "0"}
# An exponent needs its sign, as every program writes it: "1E50" is a code of ICD-11.
_NUMERAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]\d{1,3})?", re.ASCII)
_MINUS = "\N{MINUS SIGN}"  # as word processors write it
_MAX_EXPONENT = 2_000

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
    raw = plain_cells(raw)
    missing = missing_cells(raw)
    if column.kind == "datetime":
        numbers = read_times(raw, dates_only=column.dates_only)
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
    raw = plain_cells(raw)
    positions = positions_of(column)
    if raw.dtype == object:
        missing = missing_cells(raw)
        texts = np.array([cell_text(value) for value in raw.to_numpy()], dtype=object)
        texts[missing] = None
        codes, uniques = pd.factorize(texts, use_na_sentinel=True)
    else:
        codes, uniques = pd.factorize(raw, use_na_sentinel=True)
    known = [position_of(positions, cell_text(value)) for value in uniques]
    values = np.array([*known, -1], dtype=np.int64)[codes]
    missing = codes < 0
    return Cells(values, missing, (values < 0) & ~missing, np.zeros(len(raw), dtype=bool))


def read_texts(raw: pd.Series) -> tuple[npt.NDArray[Any], Mask]:
    """Reads a category column whose categories are not known; never fails.

    Returns:
      The text of each cell without outer white space, (N,) objects; and where a cell is missing,
      which has the text "".
    """
    raw = plain_cells(raw)
    missing = missing_cells(raw)
    # Cell by cell: equal objects may be written differently, so none may stand for another.
    texts = np.array([cell_text(value).strip() for value in raw.to_numpy(object)], dtype=object)
    texts[missing] = ""
    return texts, missing


def plain_cells(raw: pd.Series) -> pd.Series:
    """Returns a column of numpy's, pandas' nullable or text type; others as single objects.

    Converting a categorical or Arrow column as a whole makes integers beside missing values
    floats; taken one by one they stay what they are.
    """
    if isinstance(raw.dtype, pd.CategoricalDtype):
        cells = np.array([*raw.cat.categories, None], dtype=object)
        return pd.Series(cells[raw.cat.codes.to_numpy()], index=raw.index, dtype=object)
    if isinstance(raw.dtype, (pd.ArrowDtype, pd.SparseDtype)):
        return pd.Series(list(raw.array), index=raw.index, dtype=object)
    return raw


def category_key(text: str) -> str:
    """Returns the form under which categories are compared that are not written alike.

    Numbers compare by exact value, so that "1" and "1.0" are one category; text without its outer
    white space; the words for true and false as 1 and 0.

    >>> category_key("1.0") == category_key(" 1") == category_key("True") != category_key("one")
    True
    """
    text = normal(text).strip()
    if text.lower() in _TRUTH:
        return _TRUTH[text.lower()]
    return _decimal_text(Decimal(text)) if _NUMERAL.fullmatch(text) else text


def positions_of(column: Column) -> dict[str, int]:
    """Maps texts to positions: exact texts first, then keys that only one category has."""
    keys = [category_key(value) for value in column.values]
    positions = {key: i for i, key in enumerate(keys) if keys.count(key) == 1}
    return positions | {value: i for i, value in enumerate(column.values)}


def position_of(positions: dict[str, int], text: str) -> int:
    """Returns the position that a text stands for, -1 for none."""
    for form in (text, text.strip(), category_key(text)):
        if form in positions:
            return positions[form]
    return -1


def cell_text(value: object) -> str:
    """Returns the text of a cell; equal numbers have equal texts, whatever their types.

    >>> cell_text(1), cell_text(1.0), cell_text(True), cell_text("1.0")
    ('1', '1', '1', '1.0')
    """
    if isinstance(value, str):
        return normal(value)
    if isinstance(value, np.timedelta64):  # for numpy a kind of integer, but int() refuses it
        return normal(str(value))
    if isinstance(value, (bool, np.bool_, int, np.integer)):
        whole = int(value)
        return str(whole) if whole.bit_length() < _MAX_EXPONENT else hex(whole)
    if isinstance(value, (float, np.floating)):
        number = float(value)
        return _decimal_text(Decimal(number if number.is_integer() else repr(number)))
    if isinstance(value, Decimal):
        return _decimal_text(value)
    return normal(str(value))


def _decimal_text(number: Decimal) -> str:
    """Returns a number in plain decimals; very long ones and infinity as they are.

    >>> _decimal_text(Decimal("-0.00")), _decimal_text(Decimal("1.50E+3"))
    ('0', '1500')
    """
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int) or max(-exponent, abs(number.adjusted())) > _MAX_EXPONENT:
        return str(number)
    text = f"{number:f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def missing_cells(raw: pd.Series) -> Mask:
    """Tells where a column has no value (N,); never fails."""
    try:
        missing: Mask = raw.isna().to_numpy(dtype=bool)
    except ArithmeticError:  # a signalling NaN may not even be compared
        cells = raw.to_numpy(dtype=object, copy=True)
        nans = [isinstance(cell, Decimal) and cell.is_snan() for cell in cells]
        cells[nans] = None
        missing = pd.isna(cells)
    return missing


def _numbers(raw: pd.Series) -> npt.NDArray[np.float64]:
    if raw.dtype == object or pd.api.types.is_string_dtype(raw.dtype):
        numbers = [_number(value) for value in raw.to_numpy(dtype=object)]
        return np.array(numbers, dtype=np.float64)
    numeric = pd.api.types.is_numeric_dtype(raw.dtype) or pd.api.types.is_bool_dtype(raw.dtype)
    if not numeric or pd.api.types.is_complex_dtype(raw.dtype):
        return np.full(len(raw), np.nan)
    return np.asarray(raw.to_numpy(dtype=np.float64, na_value=np.nan), dtype=np.float64)


def _number(value: object) -> float:
    """Returns a single value as the nearest float, NaN where it is no number.

    Parsing a column as a whole would round long numerals by what else stands in it.
    """
    try:
        if isinstance(value, str):
            text = value.strip().replace(_MINUS, "-")
            return float(text) if text.isascii() and "_" not in text else math.nan
        if isinstance(value, (int, float, Decimal, np.number, np.bool_)):
            no_number = isinstance(value, (np.complexfloating, np.timedelta64))
            return math.nan if no_number else float(value)
    except (OverflowError, ValueError):
        return math.nan
    return math.nan
