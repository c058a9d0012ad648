"""Reads JSON that comes from outside: it must mean one thing only, to every reader."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from fedloom.common.errors import ReleaseError
from fedloom.common.files import read_plain

__all__ = ["MAX_JSON_BYTES", "parse_json", "read_json"]

MAX_JSON_BYTES = 1 << 26
"""The largest JSON file that is read; a ledger of ten thousand answers has a fifth of it."""
_MAX_DIGITS = 20


def read_json(path: Path) -> Any:
    """Reads one file, as `parse_json` does.

    Raises:
      ReleaseError: it is missing, too large, no plain file, or not JSON that means one thing
        only.
    """
    return parse_json(read_plain(path, MAX_JSON_BYTES), path.name)


def parse_json(data: bytes, name: str) -> Any:
    """Parses UTF-8 JSON without repeated keys, NaN, infinities or whole numbers beyond 64 bits.

    Args:
      data: the text.
      name: of the file, for messages.

    Raises:
      ReleaseError: it is something else, or is nested too deeply.

    >>> parse_json(b'{"a": [1, 2.5]}', "x.json")
    {'a': [1, 2.5]}
    """
    try:
        return json.loads(
            data.decode(),
            object_pairs_hook=_object,
            parse_constant=_refused_constant,
            parse_float=_finite,
            parse_int=_whole,
        )
    except RecursionError:
        raise ReleaseError(f"{name} is nested too deeply; fetch the release again") from None
    except ValueError as error:
        raise ReleaseError(f"{name} is damaged ({error}); fetch the release again") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("an object has the same key twice")
    return value


def _refused_constant(text: str) -> Any:
    raise ValueError(f"{text} is no number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number is too large")
    return value


def _whole(text: str) -> int:
    if len(text) > _MAX_DIGITS or not -(2**63) <= (value := int(text)) < 2**64:
        raise ValueError("a whole number has more than 64 bits")
    return value
