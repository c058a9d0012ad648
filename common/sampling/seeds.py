"""How a draw is made repeatable, and how many threads it takes; rows do not depend on those."""

from __future__ import annotations

import os

import numpy as np

from fedloom.common.errors import ConfigError

__all__ = ["default_threads", "seed_sequence"]


def seed_sequence(seed: int | None) -> np.random.SeedSequence:
    """Returns where a draw's random numbers begin; None begins afresh.

    Raises:
      ConfigError: the seed is no whole number of 0 or more.

    >>> int(seed_sequence(7).entropy)
    7
    """
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, (int, np.integer))):
        raise ConfigError(f"a seed must be a whole number, got {seed!r}")
    if seed is not None and seed < 0:
        raise ConfigError(f"a seed must be 0 or more, got {seed}")
    return np.random.SeedSequence(seed if seed is None else int(seed))


# Each thread holds its own rows; more would cost memory, and writing is the narrower place by then.
_MAX_THREADS = 8


def default_threads() -> int:
    """Returns the number of cores that this process may use, up to 8."""
    if hasattr(os, "sched_getaffinity"):
        return min(len(os.sched_getaffinity(0)), _MAX_THREADS)
    return min(os.cpu_count() or 1, _MAX_THREADS)
