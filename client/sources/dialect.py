"""What text cells say in the dialect of their source: numbers and times that need no guessing.

A source that says how its numbers or times are written is taken at its word: a text that is not
written so is unreadable (`Unread`), whatever it could mean otherwise. Each cell is read by itself.
"""

from __future__ import annotations

import datetime as dt
import re
import zoneinfo
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from fedloom.client.sources.config import Source
from fedloom.common.cells import plain_cells
from fedloom.common.column import Column
from fedloom.common.times import parse_time

__all__ = ["Unread", "in_dialect", "number_reader", "text_writer", "time_reader"]

_EXCEL_EPOCH = dt.datetime(1899, 12, 30)
_FIRST_SERIAL = 61  # days before March 1900 are counted otherwise by other programs
_LAST_SERIAL = 2_958_465
# Marks that are written for the one that a source names.
_ALIKE = {" ": " \u00a0\u202f\u2009", "'": "'\u2019"}


@dataclass(frozen=True, slots=True)
class Unread:
    """A text that is no number or time in the dialect of its source."""

    text: str

    def __str__(self) -> str:
        """Returns the text as it was written."""
        return self.text


def in_dialect(column: Column, cells: pd.Series, source: Source) -> pd.Series:
    """Returns a column with the texts of numbers and times read as their source says.

    Texts become numbers or times, or `Unread`; other cells, and columns of which the source says
    nothing, stay as they are.

    Args:
      column: Of the schema.
      cells: The raw column, missing values marked.
      source: Says how cells are written.
    """
    if column.kind in ("integer", "real") and source.says_numbers:
        return _each(cells, number_reader(source.decimal_mark, source.thousands), (str,))
    if column.kind == "datetime":
        formats = source.formats_of(column.name)
        kinds: tuple[type, ...] = (str,)
        if "excel" in formats:
            kinds += (int, float)
        if source.time_zone is not None:
            kinds += (dt.date, np.datetime64)
        if formats or source.time_zone is not None:
            read = time_reader(formats, source.time_zone, dates_only=column.dates_only)
            return _each(cells, read, kinds)
    return cells


def text_writer(column: Column, source: Source) -> Callable[[Any], str]:
    """Returns what writes a value of a synthetic column as the source writes its own.

    Args:
      column: Of the schema.
      source: Says how cells are written.
    """
    if column.kind in ("integer", "real"):
        return lambda value: str(value).replace(".", source.decimal_mark)
    if column.kind in ("category", "set"):
        return str
    way = next(iter(source.formats_of(column.name)), None)
    way = way or ("%Y-%m-%d" if column.dates_only else "%Y-%m-%d %H:%M:%S")
    zone = None if source.time_zone is None else zoneinfo.ZoneInfo(source.time_zone)

    def write(value: Any) -> str:
        moment = pd.Timestamp(value).to_pydatetime()
        if zone is not None and not column.dates_only:
            moment = moment.replace(tzinfo=dt.UTC).astimezone(zone).replace(tzinfo=None)
        if way == "excel":
            days = (moment - _EXCEL_EPOCH) / dt.timedelta(days=1)
            return f"{days:.10g}".replace(".", source.decimal_mark)
        return str(moment.strftime(way))

    return write


def number_reader(decimal: str, thousands: str | None) -> Callable[[str], float | None]:
    """Returns what reads a text as a number written with these marks; None is no number.

    >>> number_reader(",", ".")("1.234,5")
    1234.5
    """
    point, groups = re.escape(decimal), r"\d+"
    if thousands is not None:
        mark = f"[{re.escape(_ALIKE.get(thousands, thousands))}]"
        groups = rf"(?:\d{{1,3}}(?:{mark}\d{{3}})+|\d+)"
    pattern = re.compile(
        rf"[+-]?(?:{groups}(?:{point}\d*)?|{point}\d+)(?:[eE][+-]?\d{{1,3}})?", re.ASCII
    )
    drop = str.maketrans("", "", _ALIKE.get(thousands or "", thousands or ""))

    def read(text: str) -> float | None:
        text = text.strip().replace("\N{MINUS SIGN}", "-")
        if pattern.fullmatch(text) is None:
            return None
        return float(text.translate(drop).replace(decimal, "."))

    return read


def time_reader(
    formats: tuple[str, ...], time_zone: str | None, *, dates_only: bool
) -> Callable[[Any], dt.datetime | None]:
    """Returns what reads a text or a time; None is no time.

    Args:
      formats: As `strptime` has them, or "excel"; a text that two of them read differently is no
        time. None at all: ISO 8601.
      time_zone: Of times without an offset; times with one are brought into it.
      dates_only: Whether the day in that zone is wanted; otherwise the instant.
    """
    zone = None if time_zone is None else zoneinfo.ZoneInfo(time_zone)

    def read(cell: Any) -> dt.datetime | None:
        moment = _moment(cell, formats)
        if moment is None or zone is None:
            return moment
        try:
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=zone)
                same = moment.astimezone(dt.UTC).astimezone(zone)
                if same.replace(tzinfo=None) != moment.replace(tzinfo=None):
                    return None  # the hour that is left out in spring
            local = moment.astimezone(zone)
        except (OverflowError, ValueError):
            return None
        return local.replace(tzinfo=None) if dates_only else local.astimezone(dt.UTC)

    return read


def _each(cells: pd.Series, read: Callable[[Any], Any], kinds: tuple[type, ...]) -> pd.Series:
    """Reads the cells of some types, each by itself; others stay."""
    found = plain_cells(cells).to_numpy(dtype=object, copy=True)
    missing = pd.isna(found)
    known: dict[tuple[type, Any], Any] = {}
    for position, cell in enumerate(found):
        if missing[position] or not isinstance(cell, kinds):
            continue
        key = (type(cell), cell)
        if key not in known:
            value = read(cell)
            known[key] = Unread(str(cell)) if value is None else value
        found[position] = known[key]
    return pd.Series(found, dtype=object)


def _moment(cell: Any, formats: tuple[str, ...]) -> dt.datetime | None:
    if isinstance(cell, np.datetime64):
        cell = str(cell)
        formats = ()
    if isinstance(cell, pd.Timestamp):
        exact: dt.datetime = cell.floor("s").to_pydatetime()
        return exact
    if isinstance(cell, dt.datetime):
        return cell.replace(microsecond=0)
    if isinstance(cell, dt.date):
        return dt.datetime(cell.year, cell.month, cell.day)
    text = str(cell).strip()
    if not formats:
        return parse_time(text)
    found = {moment for way in formats if (moment := _by_format(text, way)) is not None}
    return found.pop() if len(found) == 1 else None


def _by_format(text: str, way: str) -> dt.datetime | None:
    try:
        if way != "excel":
            return (
                dt.datetime.strptime(text, way).replace(microsecond=0) if text.isascii() else None
            )
        days = float(text) if text.isascii() and "_" not in text else -1.0
    except ValueError:
        return None
    if not _FIRST_SERIAL <= days <= _LAST_SERIAL:
        return None
    return _EXCEL_EPOCH + dt.timedelta(seconds=round(days * 86_400))
