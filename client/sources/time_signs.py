"""How unreadable times seem to be written, for messages to the steward alone.

Nothing is read by what is found here; where day and month could be either way round, both are
named.
"""

from __future__ import annotations

from collections.abc import Sequence

from fedloom.client.sources.dialect import time_reader
from fedloom.client.sources.options import remedy
from fedloom.client.sources.signs import Sign, sample_of
from fedloom.common.times import day_in_doubt, parse_time

__all__ = ["time_sign"]

_DAYS = (
    *("%d.%m.%Y", "%d.%m.%y", "%d/%m/%Y", "%m/%d/%Y", "%d/%m/%y", "%m/%d/%y", "%d-%m-%Y"),
    *("%m-%d-%Y", "%d-%m-%y", "%d-%b-%Y", "%d-%b-%y", "%d %b %Y", "%d %B %Y", "%b %d, %Y"),
    *("%B %d, %Y", "%d%b%Y", "%Y.%m.%d", "%Y%m%d"),
)
_HOURS = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p", " %H.%M", ", %H:%M", "T%H:%M:%S")
_WHOLE = ("%Y%m%d%H%M%S", "%Y%m%d%H%M", "%d%b%Y:%H:%M:%S", "%Y-%m", "%m/%Y", "%m.%Y", "%Y")
_FORMATS = (*(day + hour for day in _DAYS for hour in _HOURS), *_WHOLE, "excel")
_LEAST = 0.5
_MAX_FORMATS = 3
_SECONDS, _MILLISECONDS = range(9, 11), range(12, 14)
_SERIALS = (15_000.0, 80_000.0)  # days from 1941 to 2119


def time_sign(unread: Sequence[str], read: Sequence[str], *, dates_only: bool) -> Sign | None:
    """Says how times seem to be written.

    Args:
      unread: Texts of a column that are no times as the source is said to be written.
      read: Its other texts.
      dates_only: Whether it is a column of dates.
    """
    if not unread:
        return None if dates_only else _mixed_zones(read)
    texts = sample_of(unread)
    times = [moment for text in texts if (moment := parse_time(text)) is not None]
    if dates_only and times and all(map(day_in_doubt, times)):
        return Sign(
            "they are times in UTC, and the day that it was at the site is not told; say the zone "
            f"of its clock: {remedy(time_zone='Europe/Berlin')}",
            dialect=True,
        )
    found: list[str] = []
    left = texts
    while left and len(found) < _MAX_FORMATS:
        way = max(_FORMATS, key=lambda way: _reads(way, left))
        if not _reads(way, left):
            break
        found.append(way)
        left = [text for text in left if not _reads(way, [text])]
    if found and len(left) <= (1 - _LEAST) * len(texts):
        return _written_as(found, texts)
    digits = {len(text.strip()) for text in texts if text.strip().isdecimal()}
    if digits and digits <= {*_SECONDS, *_MILLISECONDS}:
        return Sign("they look like seconds since 1970; write dates, such as 2020-01-31")
    return None


def _written_as(found: list[str], texts: Sequence[str]) -> Sign:
    said = remedy(date_format=found[0] if len(found) == 1 else found)
    turned = [_turned(way) for way in found]
    if turned != found and sum(_reads(way, texts) for way in turned) >= sum(
        _reads(way, texts) for way in found
    ):
        other = remedy(date_format=turned[0] if len(turned) == 1 else turned)
        return Sign(
            f"whether the day or the month comes first in {texts[0]!r} cannot be told: {said}; or "
            f"{other}",
            dialect=True,
        )
    return Sign(f"{texts[0]!r} can be read: {said}", dialect=True)


def _turned(way: str) -> str:
    """Returns a format with day and month the other way round, where both are numbers."""
    for mark in "/-.":
        way = way.replace(f"%d{mark}%m", f"%D{mark}%M").replace(f"%m{mark}%d", f"%d{mark}%m")
        way = way.replace(f"%D{mark}%M", f"%m{mark}%d")
    return way


def _reads(way: str, texts: Sequence[str]) -> int:
    if way == "excel":
        return sum(_is_serial(text) for text in texts)
    read = time_reader((way,), None, dates_only=False)
    return sum(read(text) is not None for text in texts)


def _is_serial(text: str) -> bool:
    try:
        return text.isascii() and _SERIALS[0] <= float(text) <= _SERIALS[1]
    except ValueError:
        return False


def _mixed_zones(texts: Sequence[str]) -> Sign | None:
    """Looks for instants beside times of some clock."""
    times = [moment for text in sample_of(texts) if (moment := parse_time(text)) is not None]
    if len({moment.tzinfo is None for moment in times}) < 2:
        return None
    return Sign(
        "some name an offset from UTC and some do not; say the zone of the others' clock: "
        f"{remedy(time_zone='Europe/Berlin')}",
        dialect=True,
    )
