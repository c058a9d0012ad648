"""How values of a datetime column are read: as seconds, or days, since 1970.

Times are written as ISO 8601 writes them, the year first: `2023-06-15`, `2023-06-15 13:45`,
`20230615T134500+0200`; parts of a date alone, such as a year, are no date. Other ways of writing
are options of a source, which hands over times that need no guessing.

A time that names its offset from UTC is an instant. In a column of times it is read in UTC, as the
schema's bounds are. In a column of dates it is the day that was written, never the day in UTC:
`2023-06-15T00:00:00+02:00` is the 15th, though it was the 14th in UTC. If it was written in UTC and
is not midnight, the day that was meant cannot be told, and it is unreadable; so are columns in UTC.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

__all__ = ["day_in_doubt", "parse_time", "read_times", "time_on_axis", "times_as_text"]

_EPOCH = dt.datetime(1970, 1, 1)
_DAY_S = 86_400
_SECOND, _DAY = dt.timedelta(seconds=1), dt.timedelta(days=1)
_TICKS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_UTC = {"UTC", "Etc/UTC", "Zulu", "GMT", "Etc/GMT", "UCT", "Universal"}
_ZONE = r"(?P<zone> ?(?:[Zz]|UTC|[+-]\d{2}(?::?\d{2})?))?"
_EXTENDED = re.compile(
    r"(?P<year>\d{4})(?P<mark>[-/])(?P<month>\d{1,2})(?P=mark)(?P<day>\d{1,2})"
    r"(?:[Tt ](?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,]\d+)?)?"
    rf"{_ZONE})?",
    re.ASCII,
)
_BASIC = re.compile(
    r"(?P<year>\d{4})(?P<month>\d{2})(?P<day>\d{2})"
    rf"(?:[Tt ](?P<hour>\d{{2}})(?P<minute>\d{{2}})(?:(?P<second>\d{{2}})(?:[.,]\d+)?)?{_ZONE})?",
    re.ASCII,
)

Floats = npt.NDArray[np.float64]


def parse_time(text: str) -> dt.datetime | None:
    """Returns the time that a text says in ISO 8601, to the second; None where it says none.

    >>> parse_time("2023-06-15 13:45").isoformat()
    '2023-06-15T13:45:00'
    >>> parse_time("15.06.2023") is None
    True
    """
    text = text.strip()
    found = _EXTENDED.fullmatch(text) or _BASIC.fullmatch(text)
    if found is None:
        return None
    parts = {key: int(found[key] or 0) for key in "year month day hour minute second".split()}
    try:
        return dt.datetime(**parts, tzinfo=_zone(found["zone"]))
    except ValueError:
        return None


def time_on_axis(moment: dt.datetime, *, dates_only: bool) -> float:
    """Returns a time as days (`dates_only`) or seconds since 1970; NaN where it is in doubt."""
    try:
        if dates_only:
            if day_in_doubt(moment):
                return np.nan
            return float((moment.replace(tzinfo=None) - _EPOCH) // _DAY)
        if moment.tzinfo is not None:
            moment = moment.astimezone(dt.UTC).replace(tzinfo=None)
        return float((moment - _EPOCH) // _SECOND)
    except (OverflowError, ValueError):
        return np.nan


def day_in_doubt(moment: dt.datetime) -> bool:
    """Tells whether a time is written in UTC and is not midnight: what was the day on the spot?"""
    midnight = (moment.hour, moment.minute, moment.second) == (0, 0, 0)
    return moment.tzinfo is not None and str(moment.tzinfo) in _UTC and not midnight


def read_times(raw: pd.Series, *, dates_only: bool) -> Floats:
    """Returns days (`dates_only`) or seconds since 1970, floored, (N,); NaN where no time is."""
    if isinstance(raw.dtype, pd.DatetimeTZDtype):
        seconds = _seconds(raw if dates_only else raw.dt.tz_convert("UTC"))
        if dates_only and str(raw.dt.tz) in _UTC:
            seconds[seconds % _DAY_S != 0] = np.nan
    elif pd.api.types.is_datetime64_any_dtype(raw.dtype):
        seconds = _seconds(raw)
    else:
        return _cells(raw.to_numpy(dtype=object), dates_only)
    return np.floor(seconds / _DAY_S) if dates_only else seconds


def times_as_text(frame: pd.DataFrame) -> pd.DataFrame:
    """Returns a table with its times as ISO 8601 text, to the second: dates where all are midnight.

    pandas before 3.1 writes years before 1000 with less than four digits, which is no date.

    >>> times_as_text(pd.DataFrame({"t": pd.to_datetime(["2023-06-15 13:45", None])}))["t"].tolist()
    ['2023-06-15 13:45:00', None]
    """
    texts = {}
    for name in frame.columns[[str(kind).startswith("datetime64") for kind in frame.dtypes]]:
        times = frame[name].to_numpy(dtype="datetime64[s]")
        known = ~np.isnat(times)
        whole_days = (times[known] == times[known].astype("datetime64[D]")).all()
        unit: Literal["D", "s"] = "D" if whole_days else "s"
        column = np.full(len(times), None, dtype=object)
        written = np.datetime_as_string(times[known], unit=unit)
        column[known] = [text.replace("T", " ") for text in written.tolist()]
        texts[name] = pd.Series(column, index=frame.index, dtype=object)
    return frame.assign(**texts)


def _seconds(raw: pd.Series) -> Floats:
    """Returns seconds since 1970 of times as their own clock shows them."""
    times = raw.dt.tz_localize(None).to_numpy()
    ticks = _TICKS[np.datetime_data(times.dtype)[0]]
    seconds: Floats = (times.astype(np.int64) // ticks).astype(np.float64)
    seconds[np.isnat(times)] = np.nan
    return seconds


def _cells(cells: npt.NDArray[Any], dates_only: bool) -> Floats:
    known: dict[str, float] = {}
    numbers = np.full(len(cells), np.nan)
    for position, cell in enumerate(cells):
        if isinstance(cell, np.datetime64):
            cell = str(cell)
        if isinstance(cell, str):
            if cell not in known:
                moment = parse_time(cell)
                known[cell] = (
                    np.nan if moment is None else time_on_axis(moment, dates_only=dates_only)
                )
            numbers[position] = known[cell]
        elif isinstance(cell, dt.datetime):
            if cell is not pd.NaT:
                numbers[position] = time_on_axis(cell, dates_only=dates_only)
        elif isinstance(cell, dt.date):
            days = float((cell - _EPOCH.date()).days)
            numbers[position] = days if dates_only else days * _DAY_S
    return numbers


def _zone(text: str | None) -> dt.tzinfo | None:
    if text is None:
        return None
    text = text.strip()
    if text in ("Z", "z", "UTC"):
        return dt.UTC
    digits = text[1:].replace(":", "").ljust(4, "0")
    offset = dt.timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return dt.timezone(-offset if text[0] == "-" else offset)
