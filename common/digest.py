"""Canonical bytes and SHA-256 digests of plain values and files.

Two parties that hold equal values compute equal digests, in any language: the bytes are those of
the JSON Canonicalization Scheme (RFC 8785). Numbers are IEEE doubles, so 1 and 1.0 are the same;
NaN, infinities and integers of 2^53 and more have no canonical form and are refused.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import rfc8785

__all__ = ["canonical_json", "digest", "file_sha256", "sha256_hex"]

_CHUNK_BYTES = 1 << 20


def canonical_json(value: Any) -> bytes:
    """Writes `value` as canonical JSON.

    Args:
      value: dicts with string keys, lists, tuples, strings, finite numbers, booleans, None.

    Raises:
      ValueError: a value has no canonical form.

    >>> canonical_json({"b": 1.0, "a": [1.5, None]})
    b'{"a":[1.5,null],"b":1}'
    """
    return rfc8785.dumps(value)


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
