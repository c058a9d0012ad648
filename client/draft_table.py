"""Drafts a schema from a table: names and kinds, and of a public table bounds and categories.

A kind is read from values, so it tells something about them; of a private table even that may not
leave. The table is made up, or public, and only whoever holds it can say which: `public=True` is
that person's word.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from fedloom.client.sources import DEFAULT_MISSING
from fedloom.common.cells import cell_text, plain_cells
from fedloom.common.draft import Draft, DraftColumn
from fedloom.common.draft.draft import MADE_UP, PUBLIC

__all__ = ["MAX_CATEGORIES", "draft_table"]

MAX_CATEGORIES = 1000
_WHOLE = re.compile(r"[+-]?(0|[1-9]\d{0,15})\Z", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\Z", re.ASCII)
_CODED = re.compile(r"[+-]?0\d", re.ASCII)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_TRUTH = {"0", "1"}
_MARKS = ("|", ";")
# Share of cells with several items from which a column seems to hold sets.
_SEVERAL = 0.05


def draft_table(private_frame: pd.DataFrame, *, public: bool, form: str) -> Draft:
    """Drafts a schema.

    Args:
      private_frame: The table, with all its columns; text or typed.
      public: Everybody may know every value in it. Without that nothing but names and kinds is
        taken from it.
      form: What it is, in words.

    Raises:
      SchemaError: it has no column, or two of one name.
    """
    columns, left_out = [], {}
    for place, name in enumerate(private_frame.columns):
        column = _column(str(name), private_frame.iloc[:, place], public)
        if isinstance(column, str):
            left_out[str(name)] = column
        else:
            columns.append(column)
    return Draft(
        form=form,
        source=PUBLIC if public else MADE_UP,
        columns=tuple(columns),
        left_out=left_out,
    )


def _column(name: str, raw: pd.Series, public: bool) -> DraftColumn | str:
    cells = [value for value in plain_cells(raw).to_numpy(object) if not _is_missing(value)]
    texts = [_text(value) for value in cells]
    kind = _kind(texts, raw)
    column = DraftColumn(name=name, kind=kind)
    if kind is None:
        return replace(column, hints=("no value tells its kind",))
    if kind == "category" and set(texts) <= _TRUTH:
        column = replace(column, hints=("0 and 1 were taken as categories",))
    mark = _separator(texts) if kind == "category" else None
    if mark is not None:
        hint = f'cells seem to hold several items: kind = "set", separator = "{mark}" keeps each'
        column = replace(column, hints=(*column.hints, hint))
    if not public:
        return column
    column = replace(column, nullable=len(texts) < len(raw))
    distinct = list(dict.fromkeys(texts))
    if len(distinct) == 1 and not (column.nullable and kind == "category"):
        return "it holds one value alone"
    if kind == "category":
        return _with_categories(column, distinct, len(texts))
    return _with_bounds(column, distinct)


def _with_categories(column: DraftColumn, distinct: Sequence[str], rows: int) -> DraftColumn:
    if len(distinct) > MAX_CATEGORIES or len(distinct) == rows > 20:
        hint = f"{len(distinct):,} different texts: an identifier or free text is no column"
        return replace(column, hints=(*column.hints, hint))
    if any(len(text.splitlines()) > 1 for text in distinct):
        return replace(column, hints=(*column.hints, "texts of several lines are no categories"))
    ordered = sorted(distinct, key=lambda text: (not _NUMBER.match(text), _rank(text), text))
    return replace(column, values=tuple(ordered))


def _with_bounds(column: DraftColumn, distinct: Sequence[str]) -> DraftColumn:
    if column.kind == "datetime":
        times = sorted(_time(text) for text in distinct)
        whole = all(len(text) == 10 for text in distinct)
        low, high = (time.date() if whole else time for time in (times[0], times[-1]))
        return replace(column, minimum=low, maximum=high)
    numbers = sorted(float(text) for text in distinct)
    ends: list[Any] = [numbers[0], numbers[-1]]
    if column.kind == "integer":
        ends = [int(end) for end in ends]
        return replace(column, minimum=ends[0], maximum=ends[1])
    places = max(len(text.partition(".")[2]) for text in distinct)
    hint = f"{places} decimals in the file"
    return replace(column, minimum=ends[0], maximum=ends[1], hints=(*column.hints, hint))


def _kind(texts: Sequence[str], raw: pd.Series) -> str | None:
    """Returns the kind that every value has; None where there is none."""
    if pd.api.types.is_bool_dtype(raw.dtype):
        return "category"
    if not texts:
        return None
    if set(texts) <= _TRUTH or any(map(_CODED.match, texts)):
        return "category"
    if all(map(_WHOLE.match, texts)) and max(abs(int(text)) for text in texts) < 2**53:
        return "integer"
    if all(map(_NUMBER.match, texts)) and all(math.isfinite(float(text)) for text in texts):
        return "real"
    if all(map(_is_time, texts)):
        return "datetime"
    return "category"


def _separator(texts: Sequence[str]) -> str | None:
    """Returns the mark between items, if some cells hold several and items occur again."""
    for mark in _MARKS:
        cells = [text.split(mark) for text in texts]
        items = [item for cell in cells for item in cell]
        several = sum(len(cell) > 1 for cell in cells)
        if several >= _SEVERAL * len(cells) and len(set(items)) <= len(items) / 2:
            return mark
    return None


def _text(value: Any) -> str:
    if isinstance(value, (dt.date, pd.Timestamp)):
        return str(value).removesuffix(" 00:00:00")
    return cell_text(value).strip()


def _is_missing(value: Any) -> bool:
    return bool(pd.isna(value)) or (isinstance(value, str) and value.strip() in DEFAULT_MISSING)


def _is_time(text: str) -> bool:
    try:
        return bool(_DATE.match(text)) and _time(text) is not None
    except ValueError:
        return False


def _time(text: str) -> dt.datetime:
    time = dt.datetime.fromisoformat(text)
    if time.tzinfo is not None:
        time = time.astimezone(dt.UTC).replace(tzinfo=None)
    return time.replace(microsecond=0)


def _rank(text: str) -> float:
    return float(text) if _NUMBER.match(text) else 0.0
