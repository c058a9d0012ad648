"""Compares what a release states with what was computed again: numbers, flags, codes, structure.

Sentences stand under the key `text` alone. They are covered by the publisher's signature and are
not compared, so that a later version may word them better and still verify an older release.
"""

from __future__ import annotations

import math
from typing import Any

from fedloom.common.errors import ReleaseError

__all__ = ["BELOW", "TEXT", "compare", "must_equal"]

BELOW = 1e-6
"""How far, relatively, a stated number may lie below the computed one; no further, ever."""
TEXT = "text"
"""The one key whose value is a sentence."""
_ABOVE = 1e-3
_SHOWN = 80


def compare(stated: Any, computed: Any, where: str) -> None:
    """Compares two plain values: numbers almost, sentences not at all, everything else exactly.

    Raises:
      ReleaseError: they differ; the message names the place.
    """
    if isinstance(computed, dict) and isinstance(stated, dict):
        if set(stated) != set(computed):
            raise ReleaseError(f"{where} has other keys than it should")
        for key in computed:
            if key != TEXT:
                compare(stated[key], computed[key], f"{where}.{key}")
            elif not isinstance(stated[key], str):
                raise ReleaseError(f"{where}.{key} is no sentence")
    elif isinstance(computed, list) and isinstance(stated, list) and len(stated) == len(computed):
        for number, (one, other) in enumerate(zip(stated, computed, strict=True)):
            compare(one, other, f"{where}[{number}]")
    elif isinstance(computed, float):
        must_equal(stated, computed, where)
    elif type(stated) is not type(computed) or stated != computed:
        raise ReleaseError(f"{where} is {repr(stated)[:_SHOWN]}, it should be {computed!r}")


def must_equal(stated: Any, computed: float, what: str) -> None:
    """Compares a stated number with the computed one.

    Raises:
      ReleaseError: it is no number, too low, or much too high.
    """
    if isinstance(stated, bool) or not isinstance(stated, int | float):
        raise ReleaseError(f"{what} is no number")
    low = computed - BELOW * max(abs(computed), 1e-9)
    high = computed + _ABOVE * max(abs(computed), 1e-9)
    if not math.isfinite(stated) or not low <= stated <= high:
        raise ReleaseError(f"{what} is {stated:.6g}, computed again it is {computed:.6g}")
