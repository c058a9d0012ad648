"""Names, shapes and types of a request's arrays, checked before any value is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.common.errors import ConfigError

__all__ = ["Shapes", "check_shapes"]

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
