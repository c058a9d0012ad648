"""What unreadable texts look like, for messages to the steward alone.

Nothing is read by what is found here: a message names the option with which the texts could be
read, and where two ways of reading them differ, it names both.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fedloom.client.sources.dialect import number_reader
from fedloom.client.sources.options import remedy
from fedloom.common.cells import category_key
from fedloom.common.column import Column

__all__ = ["Sign", "category_sign", "number_sign", "sample_of"]

_SAMPLE = 200
_LEAST = 0.5  # share of the unreadable texts that a way of reading must explain
_NUMBERS: tuple[tuple[str, str | None], ...] = (
    (".", None),
    (",", None),
    (",", "."),
    (",", " "),
    (",", "'"),
    (".", ","),
    (".", " "),
    (".", "'"),
    (".", "_"),
)


@dataclass(frozen=True, slots=True)
class Sign:
    """What texts look like.

    Attributes:
      text: For the message: what they are, and what to do.
      dialect: They are written as another source would write them, so that what was readable may
        have been read wrongly too.
    """

    text: str
    dialect: bool = False


def sample_of(texts: Sequence[str]) -> list[str]:
    """Returns some of the different texts, spread over all of them."""
    distinct = list(dict.fromkeys(texts))
    return distinct[:: max(1, len(distinct) // _SAMPLE)]


def number_sign(unread: Sequence[str], read: Sequence[str]) -> Sign | None:
    """Says how numbers seem to be written.

    Args:
      unread: Texts of a column that are no numbers as the source is said to be written.
      read: Its other texts.
    """
    if not unread:
        return _point_in_doubt(read)
    texts = [*sample_of(unread), *sample_of(read)]
    found: dict[str, tuple[float, str | None]] = {}
    for decimal, thousands in _NUMBERS:
        reader = number_reader(decimal, thousands)
        if _share(sample_of(unread), reader) >= _LEAST:
            share = _share(texts, reader)
            if share > found.get(decimal, (0.0, None))[0]:
                found[decimal] = (share, thousands)
    best = max((share for share, _ in found.values()), default=0.0)
    ways = [(mark, thousands) for mark, (share, thousands) in found.items() if share == best]
    if ways:
        return _read_as(ways, next(text for text in unread if number_reader(*ways[0])(text)))
    return _other_marks(unread)


def category_sign(column: Column, unknown: Sequence[str]) -> Sign | None:
    """Says why texts may not be among a column's categories."""
    texts = sample_of(unknown)
    by_case = {category_key(value).casefold(): value for value in column.values}

    def other_case(text: str) -> str | None:
        return by_case.get(category_key(text).casefold())

    def unquoted(text: str) -> str | None:
        bare = text.strip()
        quoted = len(bare) > 1 and bare[0] == bare[-1] and bare[0] in "'\""
        return bare[0] if quoted else None

    if _share(texts, unquoted) >= _LEAST:
        mark = next(filter(None, map(unquoted, texts)))
        return Sign(f"they stand in quotes: {remedy(quote=mark)}", dialect=True)
    if _share(texts, _mojibake) >= _LEAST:
        return Sign(
            "they are UTF-8 that was read in another encoding; leave encoding out, or convert the "
            "table again",
            dialect=True,
        )
    if any("\N{REPLACEMENT CHARACTER}" in text for text in texts):
        return Sign("letters were lost when the table was converted; convert it again")
    if _share(texts, other_case) >= _LEAST:
        text = next(text for text in texts if other_case(text))
        return Sign(f"they differ in capital letters: {text!r} and {other_case(text)!r}")
    return None


def _read_as(ways: Sequence[tuple[str, str | None]], example: str) -> Sign:
    said = []
    for decimal, thousands in ways:
        options = {"decimal": decimal}
        if thousands is not None:
            options["thousands"] = thousands
        value = number_reader(decimal, thousands)(example)
        said.append(f"{example!r} is {value:g} if you {remedy(**options)}")
    tail = "; which of them is right, only its maker knows" if len(said) > 1 else ""
    return Sign("; ".join(said) + tail, dialect=True)


def _point_in_doubt(texts: Sequence[str]) -> Sign | None:
    """Looks for points that may be marks of thousands: in every number that has one."""
    dotted = [text.strip() for text in texts if "." in text]
    grouped = number_reader(",", ".")

    def in_doubt(text: str) -> bool:
        whole = text.lstrip("+-")
        return grouped(text) is not None and not whole.startswith("0") and whole.isascii()

    if not dotted or not all(map(in_doubt, dotted)):
        return None
    example = dotted[0]
    return Sign(
        f"whether {example!r} is {float(example):g} or {grouped(example):g} cannot be told; for "
        f"the one {remedy(decimal='.')}; for the other {remedy(decimal=',', thousands='.')}",
        dialect=True,
    )


def _other_marks(texts: Sequence[str]) -> Sign | None:
    marks: dict[str, int] = {}
    for text in sample_of(texts):
        for mark in {mark for mark in text if not (mark.isascii() and mark.isalnum())}:
            if mark not in ".,+-" and any(other.isdigit() for other in text):
                marks[mark] = marks.get(mark, 0) + 1
    if not marks:
        return None
    mark = max(marks, key=lambda mark: marks[mark])
    if marks[mark] < _LEAST * len(sample_of(texts)):
        return None
    name = unicodedata.name(mark, f"U+{ord(mark):04X}").lower()
    return Sign(f"they hold {mark!r} ({name}); write numbers alone, in the digits 0 to 9")


def _mojibake(text: str) -> str | None:
    if text.isascii():
        return None
    for codec in ("cp1252", "latin-1"):
        try:
            return text.encode(codec).decode()
        except UnicodeError:
            continue
    return None


def _share(texts: Sequence[str], read: Callable[[str], Any]) -> float:
    return sum(read(text) is not None for text in texts) / max(len(texts), 1)
