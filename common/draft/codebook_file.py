"""Reads a codebook from a file, whatever its form: CSV, TSV, JSON or TOML."""

from __future__ import annotations

import csv
import io
import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fedloom.common.draft.dictionary import dictionary, headings
from fedloom.common.draft.draft import Draft
from fedloom.common.draft.redcap import is_redcap, redcap
from fedloom.common.draft.standards import standard
from fedloom.common.draft.words import kind_of
from fedloom.common.errors import SchemaError

__all__ = ["looks_like_codebook", "read_codebook"]

_STRUCTURED = (".json", ".jsonld", ".toml")
_SEPARATORS = ",;\t|"
_LISTS = ("column", "columns", "variables", "fields", "items", "dictionary", "codebook")


def looks_like_codebook(path: Path) -> bool:
    """Tells whether a file describes a table, by its form alone.

    A text file does if its headings name variables and types, and every type is a word for one.

    Raises:
      SchemaError: it cannot be read.
    """
    if path.suffix.lower() in _STRUCTURED:
        return True
    if path.suffix.lower() not in (".csv", ".tsv", ".txt"):
        return False
    try:
        entries = _lines(path)
    except SchemaError as error:
        raise SchemaError(f"{path}: {error}") from None
    if not entries:
        return False
    if is_redcap(list(entries[0])):
        return True
    known = headings(list(entries[0]))
    if "name" not in known or "kind" not in known:
        return False
    words = [str(entry[known["kind"]] or "").strip() for entry in entries]
    return any(words) and all(kind_of(word) for word in words if word)


def read_codebook(path: Path, *, table: str | None = None, public: bool = False) -> Draft:
    """Reads a codebook.

    Args:
      path: Of the file.
      table: Which of several tables that it describes.
      public: Everybody may know every value in it, also those that summarise records.

    Raises:
      SchemaError: the file is no codebook; the message names it and says what it should hold.
    """
    try:
        return _read(path, table, public)
    except SchemaError as error:
        raise SchemaError(f"{path}: {error}") from None


def _read(path: Path, table: str | None, public: bool) -> Draft:
    if path.suffix.lower() not in _STRUCTURED:
        entries: Sequence[Mapping[str, Any]] = _lines(path)
        if entries and is_redcap(list(entries[0])):
            return redcap(entries)
        return _dictionary(entries, public, "row", first=2)
    document = _parsed(path)
    known = standard(document, table)
    if known is not None:
        return known
    listed = _listed(document)
    if listed is None:
        raise SchemaError(
            "no codebook that fedloom knows; list the variables under `columns`, each with name, "
            "kind, and as far as they are known values, min, max, description, unit"
        )
    if is_redcap(list(listed[0]) if listed else []):
        return redcap(listed)
    return _dictionary(listed, public, "entry", first=1)


def _dictionary(
    entries: Sequence[Mapping[str, Any]], public: bool, where: str, *, first: int
) -> Draft:
    if "name" not in headings([key for entry in entries for key in entry]):
        raise SchemaError(
            "no codebook: no heading says what the variables are called; call it `name`, and "
            "others kind, values, min, max, description, unit"
        )
    return dictionary(entries, public=public, where=where, first=first)


def _listed(document: Any) -> list[Mapping[str, Any]] | None:
    if isinstance(document, Mapping):
        for key in _LISTS:
            if key in document:
                return _listed(document[key])
        if document and all(isinstance(entry, Mapping) for entry in document.values()):
            return [{"name": name, **entry} for name, entry in document.items()]
    if isinstance(document, list) and all(isinstance(entry, Mapping) for entry in document):
        return document
    return None


def _parsed(path: Path) -> Any:
    data = _bytes(path)
    try:
        if path.suffix.lower() == ".toml":
            return tomllib.loads(data.decode())
        return json.loads(data.decode("utf-8-sig"))
    except ValueError as error:
        raise SchemaError(f"cannot be read: {error}; correct it") from None


def _lines(path: Path) -> list[dict[str, Any]]:
    """Returns a text file's lines by heading; separator and encoding are as they look."""
    text = _text(path)
    first = text.partition("\n")[0]
    best = max(_SEPARATORS, key=lambda mark: len(next(csv.reader([first], delimiter=mark), [])))
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=best, strict=True))
    except csv.Error as error:
        raise SchemaError(f"not a table: {error}; mind the quotes") from None
    if not rows or not any(rows[0]):
        raise SchemaError("the file is empty")
    header = [cell.strip() for cell in rows[0]]
    return [
        {key: cell for key, cell in zip(header, [*row, *[""] * len(header)], strict=False) if key}
        for row in rows[1:]
    ]


def _text(path: Path) -> str:
    data = _bytes(path)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        reason = error.strerror or "cannot be read"
        raise SchemaError(f"{reason}; give the path of a codebook or of a table") from None
