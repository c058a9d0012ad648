"""Writes a schema as the TOML file that `Schema.load` reads, with comments for people."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from typing import Any

from fedloom.common.schema import Schema

__all__ = ["schema_text", "toml_comment", "toml_value"]


def schema_text(
    schema: Schema, *, head: Iterable[str] = (), notes: Mapping[str, Iterable[str]] | None = None
) -> str:
    """Returns the text of a schema file.

    Args:
      schema: What it says.
      head: Comments at the top, one line each.
      notes: Comments above a column, by its name.
    """
    plain = schema.to_dict()
    lines = [toml_comment(line) for line in head]
    for origin in plain.get("learned", []):
        lines += ["", "[[learned]]", *_pairs(origin)]
    if schema.kind.name in plain:
        lines += ["", f"[{schema.kind.name}]", *_pairs(plain[schema.kind.name])]
    for column in plain["column"]:
        lines += ["", *(toml_comment(line) for line in (notes or {}).get(column["name"], ()))]
        lines += ["[[column]]", *_pairs(column)]
    for constraint in plain.get("constraint", []):
        lines += ["", "[[constraint]]", *_pairs(constraint)]
    return "\n".join(lines).lstrip("\n") + "\n"


def toml_comment(line: str) -> str:
    """Returns a line as a comment that cannot end before the line does."""
    return "# " + "".join(mark if mark.isprintable() else "?" for mark in line)


def _pairs(table: Mapping[str, Any]) -> list[str]:
    return [f"{key} = {toml_value(value)}" for key, value in table.items()]


def toml_value(value: Any) -> str:
    """Returns a text, number, truth value, date or list as TOML writes it."""
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    if isinstance(value, str):
        # JSON's strings are TOML's, but for one control character.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value)
