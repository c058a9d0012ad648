"""Writes a draft as the schema file that people complete.

A column of which something is not known is either open, which a study of the kind "schema" can
learn at a price, or holds blanks, which no command accepts. Every value that came from a file's
records says so on its own line.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from typing import Any

from fedloom.common.blanks import BLANK
from fedloom.common.draft.draft import DOCUMENT, MADE_UP, PUBLIC, Draft, DraftColumn
from fedloom.common.schema_text import toml_comment, toml_value

__all__ = ["draft_text"]

_WIDTH = 96
_IDENTIFIER = re.compile(
    r"(.*[_ .-])?(id|ids|nr|mrn|ssn|nhs|uuid|guid|person|patient|subject|participant|name|surname|"
    r"email|e-mail|phone|address)\Z",
    re.IGNORECASE,
)
_FROM_FILE = "  # from the file"
_OPEN = {
    "bounds": "open: write min and max from a document, or have them learned at a price",
    "values": "open: list the categories from a document, or have them learned at a price",
}
_FILL = {
    "kind": "integer, real, category, datetime or set",
    "min": "the smallest value that can be, from a document",
    "max": "the largest value that can be, from a document",
    "values": 'the categories from a document, such as ["no", "yes"]',
}


def draft_text(draft: Draft, *, name: str, blanks: bool) -> str:
    """Returns the text of a schema file.

    Args:
      draft: What is known.
      name: Of the file that it was read from, for the comments.
      blanks: Leave blanks to fill in, in place of open columns.
    """
    lines = [
        toml_comment(part) for line in _head(draft, name) for part in textwrap.wrap(line, _WIDTH)
    ]
    for column in draft.columns:
        lines += ["", toml_comment(_hint(column)), "[[column]]"]
        lines += _lines(column, from_file=draft.source != DOCUMENT, blanks=blanks)
    for constraint in draft.constraints:
        lines += ["", "[[constraint]]"]
        lines += [f"{key} = {toml_value(value)}" for key, value in constraint.items()]
    return "\n".join(lines) + "\n"


def _head(draft: Draft, name: str) -> Iterator[str]:
    yield f"Drafted by `fedloom schema draft` from {name}, {draft.form}."
    if draft.source == PUBLIC:
        yield "What says `from the file` was read from its values, which everybody may know."
    if draft.source == MADE_UP:
        yield (
            "Kinds were read from its rows, which must be made up: a kind tells something of "
            "values."
        )
    yield (
        "Read every line before it is used: a schema is public, and whatever it says of the "
        "records must be known from a document, or be learned at a price."
    )
    yield from draft.notes
    for left, why in draft.left_out.items():
        yield f"Left out: '{left}', {why}."


def _hint(column: DraftColumn) -> str:
    words = list(column.hints)
    if _IDENTIFIER.match(column.name):
        words.append(
            "by its name an identifier; take it out, and if it tells persons apart, name it "
            "in the study as [privacy] id"
        )
    if column.nullable is None:
        words.append("add `nullable = true` if values may be missing")
    if column.kind == "category" and column.values and column.other is None:
        words.append('`other = "(other)"` takes what is not listed')
    return f"{column.name}: {'; '.join(words)}" if words else column.name


def _lines(column: DraftColumn, *, from_file: bool, blanks: bool) -> Iterator[str]:
    origin = _FROM_FILE if from_file else ""
    yield f"name = {toml_value(column.name)}"
    if column.kind is None:
        yield _blank("kind")
    else:
        yield f"kind = {toml_value(column.kind)}{origin}"
    if column.kind in ("category", "set"):
        yield from _categories(column, origin, blanks)
    elif column.numeric:
        yield from _bounds(column, origin, blanks)
    if column.special and column.known:
        yield f"special = {toml_value(column.special)}{origin}"
    if column.scale != "auto":
        yield f"scale = {toml_value(column.scale)}"
    for key in ("max_items", "separator"):
        if getattr(column, key) is not None:
            yield f"{key} = {toml_value(getattr(column, key))}"
    if column.nullable:
        yield f"nullable = true{origin}"
    if column.other is not None:
        yield f"other = {toml_value(column.other)}"
    if column.description:
        yield f"description = {toml_value(column.description)}"


def _categories(column: DraftColumn, origin: str, blanks: bool) -> Iterator[str]:
    if column.values:
        yield f"values = {toml_value(column.values)}{origin}"
    elif blanks:
        yield _blank("values")
    else:
        yield f'values = "private"  # {_OPEN["values"]}'


def _bounds(column: DraftColumn, origin: str, blanks: bool) -> Iterator[str]:
    told: dict[str, Any] = {"min": column.minimum, "max": column.maximum}
    if column.known or blanks:
        for key, value in told.items():
            yield _blank(key) if value is None else f"{key} = {toml_value(value)}{origin}"
        return
    for key, value in told.items():
        if value is not None:
            yield f"# {key} = {toml_value(value)}{origin}"
    yield f'bounds = "private"  # {_OPEN["bounds"]}'


def _blank(key: str) -> str:
    return f"{key} = {toml_value(BLANK)}  # {_FILL[key]}"
