"""Arrays that come from outside: their names, shapes and types, and files that hold nothing else.

A safetensors file is a JSON header and the arrays' bytes. Its own reader makes sure that the
arrays fill the file to its end and allocates no more than that; here it is also held to one
meaning, with no name given twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from fedloom.common.errors import ConfigError, ReleaseError
from fedloom.common.files import read_plain
from fedloom.common.strict_json import parse_json

__all__ = ["Arrays", "Shapes", "check_shapes", "read_arrays", "read_header_and_arrays"]

Arrays = dict[str, np.ndarray[Any, np.dtype[Any]]]

_LENGTH_BYTES = 8
_METADATA = "__metadata__"


def read_arrays(path: Path, max_bytes: int) -> Arrays:
    """Returns the arrays of a safetensors file that holds nothing else.

    Args:
      path: of the file.
      max_bytes: more than that is refused before it is read.

    Raises:
      ReleaseError: as for `read_header_and_arrays`, or there is text in the header.
    """
    metadata, arrays = read_header_and_arrays(path, max_bytes)
    if metadata:
        raise ReleaseError(f"{path.name} holds more than arrays; take it from its source again")
    return arrays


def read_header_and_arrays(path: Path, max_bytes: int) -> tuple[dict[str, str], Arrays]:
    """Returns the texts of a safetensors file's header, by key, and its arrays, by name.

    Raises:
      ReleaseError: the file is missing, too large, no plain file, or does not hold arrays, each
        under a name of its own.
    """
    data = read_plain(path, max_bytes)
    try:
        arrays = dict(safetensors.numpy.load(data))
    except (ValueError, KeyError, TypeError, safetensors.SafetensorError) as error:
        raise ReleaseError(
            f"{path.name} does not hold arrays as safetensors ({error}); take it from its source "
            "again"
        ) from error
    length = int.from_bytes(data[:_LENGTH_BYTES], "little")
    layout = parse_json(data[_LENGTH_BYTES : _LENGTH_BYTES + length], path.name)
    metadata = layout.pop(_METADATA, {})
    if set(layout) != set(arrays):
        raise ReleaseError(f"{path.name} names other arrays than it holds")
    return dict(metadata), arrays


Shapes = Mapping[str, tuple[tuple[int, ...], str]]
"""By name: the shape, and the type as NumPy writes it."""


def check_shapes(what: str, arrays: Mapping[str, NDArray[Any]], expected: Shapes) -> None:
    """Refuses arrays that are not exactly the expected ones; `what` is who takes them.

    Raises:
      ConfigError: a name, shape or type is not what is expected.
    """
    if set(arrays) != set(expected):
        raise ConfigError(
            f"{what} takes the arrays {', '.join(sorted(expected)) or 'none'}; "
            f"got {', '.join(sorted(arrays)) or 'none'}"
        )
    for name, (shape, kind) in expected.items():
        array = arrays[name]
        if array.shape != shape or array.dtype != np.dtype(kind):
            raise ConfigError(
                f"{name} must have shape {shape} and type {kind}; got {array.shape} and "
                f"{array.dtype}"
            )
