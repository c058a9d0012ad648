"""The kinds of record: one entry each.

A new kind is a module beside the table's and its entry; docs/extending.md has the parts of one.
A schema names the kind of its records by a section of the kind's name, such as `[image]`; without
one it describes a table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedloom.common.errors import SchemaError
from fedloom.common.records.base import RecordKind, RecordSettings
from fedloom.common.records.image import IMAGES
from fedloom.common.records.table import TABLE, TableSettings
from fedloom.common.typed import read_typed

__all__ = ["RECORDS", "read_records", "record_kind"]

RECORDS: dict[str, RecordKind] = {entry.name: entry for entry in (TABLE, IMAGES)}


def record_kind(settings: RecordSettings) -> RecordKind:
    """Returns the entry of a schema's records."""
    return RECORDS[settings.kind]


def read_records(schema: Mapping[str, Any]) -> RecordSettings:
    """Reads of what kind a schema's records are.

    Args:
      schema: as TOML or JSON gives it.

    Raises:
      SchemaError: it names two kinds, or a key of the section is unknown or out of range.
    """
    named = [name for name in RECORDS if name in schema]
    if len(named) > 1:
        raise SchemaError(f"the schema has both [{named[0]}] and [{named[1]}]; keep one of them")
    if not named:
        return TableSettings()
    kind = RECORDS[named[0]]
    return read_typed(schema[kind.name], kind.settings, where=f"[{kind.name}]", error=SchemaError)
