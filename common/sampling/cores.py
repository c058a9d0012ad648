"""How many threads sampling takes."""

from __future__ import annotations

import os

__all__ = ["default_threads"]

# Each thread holds its own rows; more would cost memory, and writing is the narrower place by then.
_MAX_THREADS = 8


def default_threads() -> int:
    """Returns the number of cores that this process may use, up to 8."""
    if hasattr(os, "sched_getaffinity"):
        return min(len(os.sched_getaffinity(0)), _MAX_THREADS)
    return min(os.cpu_count() or 1, _MAX_THREADS)
