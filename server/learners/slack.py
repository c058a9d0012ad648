"""How near a fit stays to its start in one noisy table: read off the table itself where it tells.

A fit with slack k s^2 on theta takes theta for a normal number of variance 1 / (k c), c being the
records of a cell. One k for all tables draws a strong relation to nothing where noise s is large
beside c, although all its cells together say certainly that it is there. So where a table differs
from the start by more than noise explains, theta's variance is read off the difference (empirical
Bayes): (sum r^2 - what noise adds) / sum c^2.

Source: empirical Bayes for normal means, Efron & Morris 1973. Post-processing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["told_strength"]

_TINY = 1e-9
# Of theta at the most. Cells that hold less than their noise would else take a difference by chance
# for a relation of any strength.
_MOST_VARIANCE = 1.0


def told_strength(
    residual: NDArray[Any], expected: NDArray[Any], noise: float, *, most: float
) -> float:
    """Returns k: how much the start counts in a table, in units of the noise's own weight.

    Args:
      residual: r (cells,), noisy counts less what the start expects.
      expected: c (cells,), what the start expects, above 0 in sum.
      noise: the mean of sum r^2 if the start is right, below sum r^2.
      most: k where the table tells nothing.

    >>> told_strength(np.array([30.0, -30.0]), np.array([100.0, 100.0]), 800.0, most=1.0)
    0.2
    """
    variance = (float(np.square(residual).sum()) - noise) / float(np.square(expected).sum())
    variance = min(variance, _MOST_VARIANCE)
    return min(most, 1.0 / max(float(expected.mean()) * variance, _TINY))
