"""Canonical bytes and SHA-256 digests of plain values and files.

Two parties that hold equal values compute equal digests: keys are sorted, there is no white
space, text is UTF-8 and numbers are written as Python's shortest round-trip form. NaN and
infinities have no canonical form and are refused.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

__all__ = ["canonical_json", "digest", "file_sha256", "sha256_hex"]

_CHUNK_BYTES = 1 << 20


def canonical_json(value: Any) -> bytes:
    """Writes `value` as canonical JSON.

    Args:
      value: dicts with string keys, lists, tuples, strings, finite numbers, booleans, None.

    Raises:
      ValueError: a number is not finite.
      TypeError: a value has no JSON form.

    >>> canonical_json({"b": 1, "a": [1.5, None]})
    b'{"a":[1.5,null],"b":1}'
    """
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def sha256_hex(data: bytes) -> str:
    """Returns the SHA-256 of `data` as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def digest(value: Any) -> str:
    """Returns the SHA-256 of the canonical JSON of `value`.

    >>> digest({"a": 1}) == digest(dict(a=1))
    True
    """
    return sha256_hex(canonical_json(value))


def file_sha256(path: Path) -> str:
    """Returns the SHA-256 of a file's bytes, read in chunks."""
    hasher = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            hasher.update(chunk)
    return hasher.hexdigest()
