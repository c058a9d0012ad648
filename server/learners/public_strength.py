"""How much of what a public table says is right: one strength for all, less where answers differ.

Noisy tables J are explained by public ones I, J = strength I + misfit + noise, by regression:

    strength = <J, I> / <I, I>        standard error sqrt(sum of I^2 var(J)) / <I, I>

A table by itself tells little of its strength, all together tell it well. So all have the strength
of all, between 0 and 1, but for those that tell a lower one by three standard errors, more than
noise and misfit do by chance (one-sided, once in 740): a column, whose tables together have their
own strength, or a single table. They are taken out one after another, the surest first, and what
is left tells the strength of the rest. It is 0 where the answers contradict the public table, and
nothing at all is taken from one whose strength over all is not three standard errors above 0. A
right table that is taken for a wrong one costs no more than its noise, a wrong one that is taken
for a right one costs more.

What noise hides is not found: a single table's strength may be off by three of its standard errors.
Post-processing of noisy answers, whose noise is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["strengths", "tells"]

Array = NDArray[Any]

# Standard errors.
_TELLS = 3.0
_TINY = 1e-300


def tells(agreed: Array, spread: Array) -> bool:
    """Says whether tables together point in the direction of the public ones at all.

    Args:
      agreed: (T,) <J, I> of each table.
      spread: (T,) variance of that by noise alone.
    """
    return float(agreed.sum()) > _TELLS * float(np.sqrt(spread.sum()))


def strengths(
    agreed: Array, size: Array, spread: Array, columns: Sequence[tuple[int, ...]]
) -> Array:
    """Returns the strength of each table, (T,) between 0 and 1.

    Args:
      agreed: (T,) <J, I> of each table.
      size: (T,) <I, I>; a table of size 0 says nothing.
      spread: (T,) variance of `agreed` by noise and misfit.
      columns: of each table.
    """
    count = 1 + max((column for table in columns for column in table), default=0)
    part_of = np.array([[column in table for table in columns] for column in range(count)])
    found, left = np.zeros(len(agreed)), np.ones(len(agreed), dtype=bool)
    while left.any():
        whole = float(np.clip(_least_squares(agreed[left], size[left]), 0.0, 1.0))
        beyond = agreed - whole * size
        alone = np.where(left, beyond / np.sqrt(np.maximum(spread, _TINY)), 0.0)
        noise = np.sqrt(np.maximum(part_of @ (spread * left), _TINY))
        together = (part_of @ (beyond * left)) / noise
        if min(alone.min(), together.min()) >= -_TELLS:
            found[left] = whole
            break
        if alone.min() <= together.min():
            lower = np.arange(len(agreed)) == alone.argmin()
        else:
            lower = left & part_of[together.argmin()]
        found[lower] = max(_least_squares(agreed[lower], size[lower]), 0.0)
        left &= ~lower
    return found


def _least_squares(agreed: Array, size: Array) -> float:
    return float(agreed.sum()) / max(float(size.sum()), _TINY)
