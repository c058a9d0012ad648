"""Arrays in a safetensors file with one canonical JSON header of ours, read as hostile input."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from fedloom.common.digest import canonical_json
from fedloom.common.errors import ReleaseError
from fedloom.common.strict_json import parse_json
from fedloom.common.strict_safetensors import Arrays, read_header_and_arrays

__all__ = ["Arrays", "pack_arrays", "read_arrays"]

_KEY = "fedloom"
_MAX_BYTES = 1 << 30


def pack_arrays(header: Mapping[str, Any], arrays: Mapping[str, Any]) -> bytes:
    """Returns the bytes of a file.

    Args:
      header: plain values with a canonical JSON form.
      arrays: by name.
    """
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return safetensors.numpy.save(
        contiguous, metadata={_KEY: canonical_json(dict(header)).decode()}
    )


def read_arrays(path: Path) -> tuple[dict[str, Any], Arrays]:
    """Reads what `pack_arrays` wrote; it runs no code.

    Returns:
      The header and the arrays.

    Raises:
      ReleaseError: the file is missing, damaged, or holds anything else beside.
    """
    metadata, arrays = read_header_and_arrays(path, _MAX_BYTES)
    if set(metadata) != {_KEY}:
        raise ReleaseError(f"{path.name} holds something else than fedloom's header and arrays")
    header = parse_json(metadata[_KEY].encode(), path.name)
    if not isinstance(header, dict) or canonical_json(header).decode() != metadata[_KEY]:
        raise ReleaseError(f"the header of {path.name} is not as fedloom writes it")
    return header, arrays
