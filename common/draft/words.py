"""Words of codebooks: types, yes and no, numbers, ranges and lists of codes.

Data dictionaries name the same things in many ways. A word that is not known here is never
guessed at: it is None, and the caller says what to do.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import re
from typing import Any

from fedloom.common.column import Bound

__all__ = ["FREE_TEXT", "Levels", "bound_of", "kind_of", "levels_of", "range_of", "truth_of"]

FREE_TEXT = "free text"

_INTEGER = (
    "integer int int8 int16 int32 int64 uint8 uint16 uint32 uint64 long short byte bigint smallint "
    "tinyint count whole wholenumber discrete year gyear nonnegativeinteger positiveinteger "
    "unsignedint unsignedlong unsignedshort slider integernumber"
)
_REAL = (
    "real float float16 float32 float64 double doubleprecision decimal number numeric num "
    "continuous interval ratio calc quantitative"
)
_CATEGORY = (
    "category categorical categoric factor nominal ordinal ordered enum enumeration coded code "
    "boolean bool logical binary dichotomous string str text char character varchar varchar2 "
    "nvarchar object radio dropdown select choice singlechoice yesno truefalse qualitative alpha "
    "alphanumeric token sql"
)
_DATETIME = "datetime date timestamp datetimestamp datetimetz dateymd datetimeymd datetime64"
_FREE = (
    "notes note freetext memo narrative comment clob blob file image signature descriptive uri "
    "anyuri url email phone uuid geopoint geojson point array list json duration time timeofday "
    "daytimeduration yearmonth gyearmonth gmonth gday gmonthday any identifier id name html xml"
)
_KINDS = {
    word: kind
    for kind, words in (
        ("integer", _INTEGER),
        ("real", _REAL),
        ("category", _CATEGORY),
        ("datetime", _DATETIME),
        (FREE_TEXT, _FREE),
    )
    for word in words.split()
}
_PRECISION = re.compile(r"(?:numeric|decimal|number)\(\d+(?:,0)?\)\Z")
_TRUE = {"y", "yes", "true", "t", "1", "x", "required", "always"}
_FALSE = {"n", "no", "false", "f", "0", "optional", "never"}
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\Z", re.ASCII)
_RANGE = re.compile(
    r"[\[(]?\s*([^\s\[(,;]+?)\s*(?:\.\.|…|–|—|\bto\b|,|;|(?<=[\d.])-)\s*([^\s\]),;]+?)\s*[\])]?\Z"
)
_CODE = re.compile(r"\s*(?:\"([^\"]*)\"|'([^']*)'|([^=:]*?))\s*(?:=|:(?!\d))\s*(.*?)\s*\Z", re.S)
_DASHED = re.compile(r"\s*([+-]?\d+)\s+[-–—]\s+(.*?)\s*\Z", re.S)

Levels = dict[str, str]


def kind_of(word: str) -> str | None:
    """Returns a schema's kind for a type's name, `FREE_TEXT` for what is no column, or None.

    >>> kind_of("VARCHAR(20)"), kind_of("xsd:nonNegativeInteger"), kind_of("dog")
    ('category', 'integer', None)
    """
    text = word.strip().lower().rpartition("#")[2].rpartition(":")[2]
    if _PRECISION.match(text.replace(" ", "")):
        return "integer"
    bare = re.sub(r"\(.*|\[.*", "", text)
    return _KINDS.get(re.sub(r"[^a-z0-9]", "", bare))


def truth_of(value: Any) -> bool | None:
    """Returns what a yes or no says, None for anything else.

    >>> truth_of("Yes"), truth_of(False), truth_of("perhaps")
    (True, False, None)
    """
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    return True if word in _TRUE else False if word in _FALSE else None


def bound_of(value: Any, kind: str | None) -> Bound | None:
    """Returns one bound of a column of that kind; None where the text is none.

    >>> bound_of("18", "integer"), bound_of("2020-01-31", "datetime"), bound_of("today", "datetime")
    (18, datetime.date(2020, 1, 31), None)
    """
    if isinstance(value, bool) or value is None:
        return None
    if kind == "datetime":
        return _time_of(value)
    if isinstance(value, str):
        if not _NUMBER.match(value.strip()):
            return None
        value = float(value) if re.search(r"[.eE]", value) else int(value)
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    if kind == "integer":
        return int(value) if value == int(value) and abs(value) <= 2**53 else None
    return float(value) if kind == "real" else value


def range_of(text: str, kind: str | None) -> tuple[Bound, Bound] | None:
    """Returns the two ends of a range, None for any other text.

    >>> range_of("0-120", "integer"), range_of("[1.5, 3]", "real"), range_of("1, 2, 3", "integer")
    ((0, 120), (1.5, 3.0), None)
    """
    found = _RANGE.match(text.strip())
    if found is None:
        return None
    low, high = (bound_of(end, kind) for end in found.groups())
    return None if low is None or high is None else (low, high)


def levels_of(value: Any) -> Levels:
    """Returns categories with what they mean ("" if nothing says so), in their order.

    Text may be JSON, REDCap's `1, Male | 2, Female`, `0=no; 1=yes`, or a plain list.

    >>> levels_of("1, Male | 2, Female")
    {'1': 'Male', '2': 'Female'}
    >>> levels_of("0=No, 1=Yes, perhaps")
    {'0': 'No', '1': 'Yes, perhaps'}
    >>> levels_of("north; south")
    {'north': '', 'south': ''}
    """
    if isinstance(value, dict):
        return {_text(code): _text(label) for code, label in value.items()}
    if isinstance(value, (list, tuple)):
        return dict(_level_of_entry(entry) for entry in value)
    text = str(value).strip()
    if text[:1] in "[{":
        try:
            return levels_of(json.loads(text))
        except ValueError:
            text = text.strip("[]{}")
    for separator in ("|", "\n", ";", ","):
        if separator in text:
            parts = [part for part in text.split(separator) if part.strip()]
            return _levels_of_parts(parts, first_comma=separator in "|\n")
    return _levels_of_parts([text], first_comma=False) if text else {}


def _levels_of_parts(parts: list[str], *, first_comma: bool) -> Levels:
    pairs = [_pair(part, first_comma=first_comma) for part in parts]
    coded = any(label for _, label in pairs)
    levels: Levels = {}
    last = None
    for part, (code, label) in zip(parts, pairs, strict=True):
        if coded and not label and last is not None and not first_comma:
            levels[last] += f", {part.strip()}"  # a comma within a label
            continue
        levels[code] = label
        last = code
    return levels


def _pair(part: str, *, first_comma: bool) -> tuple[str, str]:
    found = _CODE.match(part) or _DASHED.match(part)
    if found is not None:
        *codes, label = found.groups()
        return next((code.strip() for code in codes if code is not None), ""), label
    if first_comma and "," in part:
        code, _, label = part.partition(",")
        return code.strip(), label.strip()
    return part.strip().strip("\"'"), ""


def _level_of_entry(entry: Any) -> tuple[str, str]:
    if isinstance(entry, dict):
        code = next((entry[key] for key in ("value", "code", "name", "id") if key in entry), "")
        label = next((entry[key] for key in ("label", "title", "description") if key in entry), "")
        return _text(code), _text(label)
    return _text(entry), ""


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value).strip()


def _time_of(value: Any) -> Bound | None:
    if isinstance(value, dt.datetime):
        return None if value.tzinfo else value.replace(microsecond=0)
    if isinstance(value, dt.date):
        return value
    text = str(value).strip()
    try:
        if re.fullmatch(r"\d{4}", text):
            return None
        if len(text) <= 10:
            return dt.date.fromisoformat(text)
        return _time_of(dt.datetime.fromisoformat(text))
    except ValueError:
        return None
