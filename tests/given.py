"""An answer for tests of what keeps answers, whatever they hold."""

from __future__ import annotations

from typing import Any

import numpy as np


def given(data: bytes) -> dict[str, np.ndarray[Any, Any]]:
    """Returns the bytes as the arrays of an answer; equal bytes, equal arrays."""
    return {"sum": np.frombuffer(data, dtype=np.uint8)}
