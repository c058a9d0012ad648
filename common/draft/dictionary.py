"""Data dictionaries of no particular standard: one entry a variable, under headings that vary.

A dictionary may also list codes one below the other, a line for each, with the variable's name
repeated or left empty. Headings such as `mean` or `count` show that it summarises records: then
its smallest, largest and listed values are those of people, and they are not taken.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from fedloom.common.blanks import BLANK
from fedloom.common.draft.draft import DOCUMENT, PUBLIC, Draft, DraftColumn
from fedloom.common.draft.words import (
    FREE_TEXT,
    Levels,
    bound_of,
    kind_of,
    levels_of,
    range_of,
    truth_of,
)
from fedloom.common.errors import SchemaError

__all__ = ["SUMMARY", "described", "dictionary", "headings"]

SUMMARY = (
    "the document summarises records (it gives {word}): smallest, largest and listed values may be "
    "those of people, so none was taken; --public takes them where everybody may know them"
)

_HEADINGS = {
    "name": "name variable variablename var field fieldname column columnname item colname "
    "variablefieldname attribute attributename",
    "kind": "kind type datatype variabletype fieldtype columntype valuetype class format dtype",
    "values": "values value levels level categories category codes choices options enum "
    "allowedvalues permissiblevalues permittedvalues valuelabels coding codelist responses "
    "responseoptions valuecoding valuelist codedvalues codeorvalue",
    "min": "min minimum lower lowerbound lowerlimit minvalue minimumvalue from rangemin",
    "max": "max maximum upper upperbound upperlimit maxvalue maximumvalue to rangemax",
    "range": "range validrange allowedrange valuerange limits",
    "description": "description label fieldlabel definition question title comment variablelabel "
    "columndescription fielddescription variabledescription longname meaning",
    "meaning": "valuelabel codelabel valuedescription codedescription meaningofvalue levellabel",
    "unit": "unit units unitofmeasure unitofmeasurement measurementunit",
    "nullable": "nullable null missing missingallowed optional allowmissing",
    "required": "required requiredfield mandatory notnull",
    "identifier": "identifier isidentifier",
    "other": "other",
    "special": "special specialvalues",
    "scale": "scale",
}
_KNOWN = {word: key for key, words in _HEADINGS.items() for word in words.split()}
_MISSING = ("", ".", "NA", "NaN", "NULL", "null")
_SUMMARIES = {
    *"mean average avg sd std stddev standarddeviation median mode n count counts freq frequency "
    "frequencies percent percentage pct q1 q3 p25 p50 p75 iqr unique nunique distinct variance "
    "cumulative skew skewness kurtosis nmissing missingcount observed nonnull".split()
}


def headings(keys: Sequence[str]) -> dict[str, str]:
    """Maps what is known (`name`, `kind`, `values` and so on) to the headings that say it.

    >>> headings(["Variable", "Data type", "Unit"])
    {'name': 'Variable', 'kind': 'Data type', 'unit': 'Unit'}
    """
    found: dict[str, str] = {}
    for key in keys:
        known = _KNOWN.get(_folded(key))
        if known is not None:
            found.setdefault(known, key)
    return found


def dictionary(
    entries: Sequence[Mapping[str, Any]], *, public: bool, where: str, first: int
) -> Draft:
    """Reads a dictionary.

    Args:
      entries: One mapping a variable, or a row.
      public: Everybody may know every value in it.
      where: The word that stands before an entry's number in messages, such as `row`.
      first: Number of the first entry.

    Raises:
      SchemaError: an entry has no name or a kind that is no word for one.
    """
    keys = list(dict.fromkeys(key for entry in entries for key in entry))
    known = headings(keys)
    summary = next((key for key in keys if _summarises(key)), None)
    take = public or summary is None
    columns: list[DraftColumn] = []
    left_out: dict[str, str] = {}
    for number, group in _groups(entries, known, where, first):
        entry = {key: group[0].get(heading) for key, heading in known.items()}
        name = _text(entry["name"])
        kind = _kind(_text(entry.get("kind")), f"{where} {number}")
        if truth_of(entry.get("identifier")) is True:
            left_out[name] = "the document marks it as an identifier"
        elif kind == FREE_TEXT:
            left_out[name] = f"of the type {_text(entry['kind'])!r}, which is no column of a schema"
        else:
            levels = _levels(group, known) if take else {}
            columns.append(_column(name, kind, entry, levels, take))
    notes = () if take else (SUMMARY.format(word=f"{summary!r}"),)
    return Draft(
        form="a data dictionary",
        source=PUBLIC if summary is not None and public else DOCUMENT,
        columns=tuple(columns),
        left_out=left_out,
        notes=notes,
    )


def described(text: Any, unit: Any, levels: Levels) -> str:
    """Returns a description with unit and meanings of codes, on one line."""
    words = _text(text)
    if _text(unit) and _text(unit).lower() not in words.lower():
        words = f"{words} ({_text(unit)})".strip()
    meanings = [f"{code} = {label}" for code, label in levels.items() if label and label != code]
    if meanings:
        words = f"{words}: " if words else ""
        words += "; ".join(meanings)
    return words


def _column(
    name: str, kind: str | None, entry: Mapping[str, Any], levels: Levels, take: bool
) -> DraftColumn:
    nullable = truth_of(entry.get("nullable"))
    if nullable is None and truth_of(entry.get("required")) is not None:
        nullable = not truth_of(entry.get("required"))
    if any(code in _MISSING for code in levels):
        levels = {code: label for code, label in levels.items() if code not in _MISSING}
        nullable = True
    numeric = kind in ("integer", "real", "datetime")
    low, high = (entry.get("min"), entry.get("max")) if take else (None, None)
    if take and numeric and not _text(low) and not _text(high):
        for text in (_text(entry.get("range")), _text(entry.get("values")), *levels):
            ends = range_of(text, kind)
            if ends is not None:
                low, high = ends
                levels = {c: label for c, label in levels.items() if range_of(c, kind) is None}
                break
    bounded = bool(_text(low) or _text(high))
    if len(levels) > 1 and not bounded and kind != "datetime":
        kind, numeric = "category", False
    bounds = [bound_of(value, kind) if numeric else None for value in (low, high)]
    hints = tuple(
        f"the document says {key} {_text(value)!r}, which is no {kind} value"
        for key, value, bound in zip(("min", "max"), (low, high), bounds, strict=True)
        if numeric and bound is None and _text(value)
    )
    return DraftColumn(
        name=name,
        kind=kind,
        minimum=bounds[0],
        maximum=bounds[1],
        values=tuple(levels) if kind == "category" else (),
        special=_apart(levels, kind, *bounds) if numeric else (),
        nullable=nullable,
        description=described(entry.get("description"), entry.get("unit"), levels),
        hints=hints,
    )


def _apart(levels: Levels, kind: str | None, low: Any, high: Any) -> tuple[Any, ...]:
    """Returns the codes of a number that lie outside its range, such as -9."""
    if low is None or high is None or kind == "datetime":
        return ()
    codes = [bound_of(code, kind) for code in levels]
    return tuple(code for code in codes if code is not None and not low <= code <= high)


def _groups(
    entries: Sequence[Mapping[str, Any]], known: Mapping[str, str], where: str, first: int
) -> list[tuple[int, list[Mapping[str, Any]]]]:
    """Gathers rows that go on with the variable above: its name again, or none."""
    groups: list[tuple[int, list[Mapping[str, Any]]]] = []
    name = None
    for number, entry in enumerate(entries, first):
        word = _text(entry.get(known["name"]))
        coded = "values" in known and _text(entry.get(known["values"]))
        if groups and coded and word in ("", name):
            groups[-1][1].append(entry)
        elif word:
            groups.append((number, [entry]))
            name = word
        elif any(_text(value) for value in entry.values()):
            raise SchemaError(f"{where} {number} has no name under {known['name']!r}; give it one")
    return groups


def _levels(group: Sequence[Mapping[str, Any]], known: Mapping[str, str]) -> Levels:
    if "values" not in known:
        return {}
    meaning = known.get("meaning")
    if meaning is None and len(group) == 1:
        told = group[0].get(known["values"])
        return {} if told in ("", None, "private", BLANK) else levels_of(told)
    levels: Levels = {}
    for entry in group:
        value = entry.get(known["values"])
        if _text(value):
            label = _text(entry.get(meaning)) if meaning is not None else ""
            levels |= {_text(value): label} if label else levels_of(value)
    return levels


def _kind(word: str, where: str) -> str | None:
    kind = kind_of(word) if word else None
    if word and kind is None:
        raise SchemaError(
            f"{where}: {word!r} is no type that fedloom knows; write integer, real, category or "
            "datetime. If the file holds records rather than describing them, say --as table"
        )
    return kind


def _summarises(key: str) -> bool:
    words = re.findall(r"[a-z0-9]+", key.lower())
    return _folded(key) in _SUMMARIES or "observed" in words or "%" in key


def _folded(key: str) -> str:
    return re.sub(r"[^a-z0-9]", "", key.lower())


def _text(value: Any) -> str:
    return "" if value is None else str(value).strip()
