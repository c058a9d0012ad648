"""Seeds that make a draw repeatable."""

from __future__ import annotations

import numpy as np

from fedloom.common.errors import ConfigError

__all__ = ["seed_sequence"]


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
