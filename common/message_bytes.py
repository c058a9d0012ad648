"""How a message is written as bytes: a canonical JSON header inside safetensors, and arrays.

The header can be read without the arrays, so that a signature is checked before anything large is.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import safetensors.numpy

from fedloom.common.digest import canonical_json
from fedloom.common.errors import ConfigError

__all__ = ["VERSION", "Arrays", "arrays_digest", "pack_message", "read_arrays", "read_header"]

VERSION = 4
_HEADER_KEY = "header"

Arrays = dict[str, np.ndarray[Any, np.dtype[Any]]]


def arrays_digest(arrays: Arrays) -> str:
    """Returns the SHA-256 over names, types, shapes and bytes of `arrays`, in order of name."""
    hasher = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        hasher.update(canonical_json([name, array.dtype.str, list(array.shape)]))
        hasher.update(array.tobytes())
    return hasher.hexdigest()


def pack_message(header: dict[str, Any], arrays: Arrays) -> bytes:
    """Returns a message as bytes."""
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    text = canonical_json({"version": VERSION, **header}).decode()
    return safetensors.numpy.save(contiguous, metadata={_HEADER_KEY: text})


def read_header(data: bytes, most: int | None = None) -> dict[str, Any]:
    """Reads a message's header but for its version, and no array.

    Raises:
      ConfigError: it is not a message of this version, or its header is longer than `most` bytes.
    """
    try:
        length = int.from_bytes(data[:8], "little")
        if most is not None and length > most:
            raise ValueError("a header that is too long")
        metadata = json.loads(data[8 : 8 + length])["__metadata__"]
        header = json.loads(metadata[_HEADER_KEY])
    except Exception as error:
        raise ConfigError("a message that is not fedloom's, or was damaged on its way") from error
    if not isinstance(header, dict) or header.pop("version", None) != VERSION:
        raise ConfigError(f"a message of another version; this fedloom speaks version {VERSION}")
    return header


def read_arrays(data: bytes) -> Arrays:
    """Reads a message's arrays; ConfigError if they are damaged."""
    try:
        return dict(safetensors.numpy.load(data))
    except Exception as error:
        raise ConfigError("a message that is not fedloom's, or was damaged on its way") from error
