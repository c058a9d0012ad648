"""Conditions on columns: what `--where` and `where=` mean.

As text, alternatives are joined by `|`; each is a value, a range `lo..hi` (both ends included,
either may be left out) or `missing`:

    age=40..60    sex=1    region=north|south    income=0|20000..    discharged=missing

In Python a condition may also be a number, a date, None (missing), a pair `(lo, hi)` (a range; None
for an open end) or a list or set of such alternatives. A value that is written like a category
is that category, whatever else the text could mean; `(missing)` is always the missing value.

Of a set the condition names an item that a record must have, or several, all of them, joined by
`&`: `drugs=A10`, `drugs=A10&N02`.
"""

from __future__ import annotations

import datetime as dt
import difflib
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fedloom.common.cells import axis_value, category_key, cell_text
from fedloom.common.column import Column
from fedloom.common.encoding import Block, Encoding
from fedloom.common.errors import ConfigError
from fedloom.common.grid import Grid
from fedloom.common.item_blocks import item_feature
from fedloom.common.sampling.allowed import AllowedValues, Range, allowed_cells, allowed_numbers

__all__ = ["any_value", "conditions_of", "item_conditions"]

Array = npt.NDArray[Any]

_MISSING = ("missing", "(missing)")
# Cells are labelled "40 to 44" in reports.
_RANGE = re.compile(r"\.\.| to ")
_SHOWN = 12


def conditions_of(where: Mapping[str, Any] | None, encoding: Encoding) -> dict[str, AllowedValues]:
    """Returns what is allowed of each column that has a condition; sets: `item_conditions`.

    Args:
      where: Conditions by column; see the module's docstring.
      encoding: Of the schema.

    Raises:
      ConfigError: a column is unknown, a condition cannot be read, or no value can meet it.
    """
    names = encoding.schema.names
    allowed = {}
    for name, wanted in (where or {}).items():
        if name not in names:
            close = difflib.get_close_matches(str(name), names, n=1)
            hint = f"did you mean '{close[0]}'?" if close else f"it has {', '.join(names)}"
            raise ConfigError(f"no column '{name}' in the schema; {hint}")
        index = names.index(name)
        if encoding.schema.columns[index].kind == "set":
            continue
        column, grid, block = (
            encoding.schema.columns[index],
            encoding.grids[index],
            encoding.blocks[index],
        )
        if grid is None:
            allowed[name] = allowed_cells(block, _categories(column, block, wanted))
        else:
            allowed[name] = _numbers(column, block, grid, wanted)
    return allowed


def item_conditions(where: Mapping[str, Any] | None, encoding: Encoding) -> dict[str, Array]:
    """Returns what is allowed of the items that conditions on sets name: to be there, not absent.

    Args:
      where: Conditions by column; those on sets are read.
      encoding: Of the schema.

    Returns:
      By the name of an item's column (`fedloom.common.item_blocks.item_feature`), (2,) shares.

    Raises:
      ConfigError: a condition names no item of its set, or more than a record may have.
    """
    found = {}
    for block in encoding.sets:
        if block.name not in (where or {}):
            continue
        wanted = cell_text((where or {})[block.name]).strip()
        items = [wanted] if wanted in block.values else wanted.split("&")
        items = list(dict.fromkeys(map(str.strip, items)))
        for item in items:
            if item not in block.values:
                raise ConfigError(
                    f"'{block.name}' is a set without the item {_shown(item)}; name one that a "
                    "record must have, or several joined by &"
                )
            found[item_feature(block.name, item)] = np.array([0.0, 1.0])
        if len(items) > block.most:
            raise ConfigError(
                f"a record has at most {block.most} items of '{block.name}', and {len(items)} are "
                "asked for; leave some out"
            )
    return found


def any_value(encoding: Encoding, index: int) -> AllowedValues:
    """Allows all that may be synthesised of the column at a place in the schema."""
    block, grid = encoding.blocks[index], encoding.grids[index]
    cells = [cell for cell, good in enumerate(block.sampleable) if good]
    if grid is None:
        return allowed_cells(block, cells)
    specials = block.num_bins + len(grid.specials)
    return allowed_numbers(
        block, grid, [(-math.inf, math.inf)], [cell for cell in cells if cell >= specials]
    )


def _categories(column: Column, block: Block, wanted: Any) -> set[int]:
    missing = block.size - 2 if column.nullable else None
    known = {
        label: code
        for code, label in enumerate(block.labels)
        if block.sampleable[code] and code != missing
    }
    cells = set()
    for item in _alternatives(wanted):
        whole = _category(known, item)
        parts = [item] if whole is not None or not isinstance(item, str) else item.split("|")
        for part in parts:
            code = _category(known, part)
            if code is None and _is_missing(part):
                code = _missing_cell(column, block)
            if code is None:
                raise _no_category(column, known, part)
            cells.add(code)
    return cells


def _category(known: Mapping[str, int], item: Any) -> int | None:
    """Returns the cell of a category, compared as the encoding compares categories."""
    if item is None or isinstance(item, float) and math.isnan(item):
        return None
    text = cell_text(item)
    if text == "(missing)":
        return None
    for form in (str, category_key):
        found = [code for label, code in known.items() if form(label) == form(text)]
        if len(found) == 1:
            return found[0]
    return None


def _numbers(column: Column, block: Block, grid: Grid, wanted: Any) -> AllowedValues:
    ranges: list[Range] = []
    cells = []
    for item in _alternatives(wanted):
        for part in item.split("|") if isinstance(item, str) else [item]:
            if _is_missing(part):
                cells.append(_missing_cell(column, block))
            else:
                ranges.append(_range(column, part))
    allowed = allowed_numbers(block, grid, ranges, cells)
    if not allowed.shares.any():
        special = f", or {', '.join(map(str, column.special))}" if column.special else ""
        raise ConfigError(
            f"no value of '{column.name}' meets the condition {_shown(wanted)}; its values are "
            f"from {column.minimum} to {column.maximum}{special}"
        )
    return allowed


def _range(column: Column, item: Any) -> Range:
    if isinstance(item, tuple):
        if len(item) != 2:
            raise ConfigError(
                f"'{column.name}': a tuple is a range (lo, hi), got {item!r}; use a list for "
                "alternatives"
            )
        low, high = item
    elif isinstance(item, str) and _RANGE.search(item):
        low, high = (part.strip() or None for part in _RANGE.split(item, maxsplit=1))
    else:
        low = high = item
    ends = (
        -math.inf if low is None else _axis(column, low)[0],
        math.inf if high is None else _axis(column, high)[1],
    )
    if ends[0] > ends[1]:
        raise ConfigError(
            f"'{column.name}': the range {_shown(item)} ends before it begins; swap its ends"
        )
    return ends


def _axis(column: Column, value: Any) -> Range:
    """Returns a value on the column's axis; a day among times of day is all of its seconds."""
    if column.kind != "datetime":
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if math.isnan(number):
            raise ConfigError(
                f"'{column.name}' is compared with numbers, got {_shown(value)}; write a number, a "
                "range such as 40..60, or missing"
            )
        return number, number
    text = str(value).strip()
    try:
        moment = dt.datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            raise ValueError("a time zone")
    except ValueError:
        raise ConfigError(
            f"'{column.name}' is compared with times, got {_shown(value)}; write a date such as "
            "2020-01-31, a time such as 2020-01-31T12:00:00, a range of them, or missing"
        ) from None
    at = axis_value(moment, dates_only=column.dates_only)
    day = isinstance(value, dt.date) and not isinstance(value, dt.datetime) or len(text) <= 10
    return at, at if column.dates_only or not day else at + 86_399


def _alternatives(wanted: Any) -> list[Any]:
    if isinstance(wanted, list | set | frozenset | np.ndarray | pd.Series | pd.Index):
        items = list(wanted)
        if not items:
            raise ConfigError("a condition lists no value; give at least one")
        return items
    return [wanted]


def _is_missing(item: Any) -> bool:
    if isinstance(item, str):
        return item.strip() in _MISSING
    return item is None or item is pd.NA or item is pd.NaT or item != item


def _missing_cell(column: Column, block: Block) -> int:
    if not column.nullable:
        raise ConfigError(
            f"'{column.name}' is never missing: the schema does not say nullable = true"
        )
    return block.size - 2


def _no_category(column: Column, known: Mapping[str, int], item: Any) -> ConfigError:
    labels = list(known)
    if column.nullable:
        labels.append("missing")
    close = difflib.get_close_matches(str(item), labels, n=1)
    hint = f"did you mean '{close[0]}'? It has" if close else "known:"
    more = f" and {len(labels) - _SHOWN} more" if len(labels) > _SHOWN else ""
    return ConfigError(
        f"'{column.name}' has no value {_shown(item)} to sample; {hint} "
        f"{', '.join(labels[:_SHOWN])}{more}"
    )


def _shown(item: Any) -> str:
    return f"'{item}'" if isinstance(item, str) else repr(item)
