"""Reads the items of a set column from a CSV file that the schema names: public codes, one a row.

A file with the columns `code` and `parent`, as a hierarchy is listed in
(`fedloom.common.code_hierarchy`), gives the codes that are nobody's parent; one without `parent`
all of its codes. The items become part of the schema and of its digest.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedloom.common.code_hierarchy import MAX_CODES
from fedloom.common.errors import SchemaError
from fedloom.common.named_rows import named_rows

__all__ = ["with_item_files"]

_MAX_BYTES = 1 << 22


def with_item_files(data: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Replaces the file's name in a set's `values` by the codes that the file lists.

    Args:
      data: A schema, as TOML gives it.
      folder: The schema's folder; the file's path is relative to it.

    Raises:
      SchemaError: a file cannot be read, is too large or has no column `code`.
    """
    entries = data.get("column")
    if not isinstance(entries, list):
        return dict(data)
    return {**data, "column": [_with_items(entry, folder) for entry in entries]}


def _with_items(entry: Any, folder: Path) -> Any:
    if not isinstance(entry, Mapping) or entry.get("kind") != "set":
        return entry
    if not isinstance(entry.get("values"), str) or entry["values"] == "private":
        return entry
    path = folder / entry["values"]
    rows = named_rows(
        path,
        what=f"the items of column '{entry.get('name')}'",
        needs="a CSV file with the column code, in UTF-8",
        most_bytes=_MAX_BYTES,
    )
    if not rows or "code" not in rows[0]:
        raise SchemaError(f"{path}: no rows, or no column code")
    codes = dict.fromkeys((row["code"] or "").strip() for row in rows)
    above = {(row.get("parent") or "").strip() for row in rows if row.get("parent") != row["code"]}
    items = [code for code in codes if code and code not in above]
    if len(items) > MAX_CODES:
        raise SchemaError(f"{path}: {len(items)} items; list {MAX_CODES} at the most")
    return {**entry, "values": items}
