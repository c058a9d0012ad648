"""What a drafted schema leaves to people: values that stand as `"FILL IN"` until someone knows.

A schema with a blank is refused wherever a schema is read, and all of its blanks are named at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["BLANK", "blanks"]

BLANK = "FILL IN"
_KEYS = ("kind", "min", "max", "values")


def blanks(entries: Iterable[Mapping[str, Any]]) -> list[str]:
    """Names what is still to be filled in, as `column: key, key`.

    Args:
      entries: The `[[column]]` tables of a schema file.

    >>> blanks([{"name": "age", "kind": "integer", "min": "FILL IN", "max": "FILL IN"}])
    ["'age': min, max"]
    """
    open_keys = (
        (entry.get("name"), [key for key in _KEYS if entry.get(key) == BLANK]) for entry in entries
    )
    return [f"'{name}': {', '.join(keys)}" for name, keys in open_keys if keys]
