"""Adam and moving averages on named arrays, with all their state in arrays.

Source: Kingma & Ba 2014 (arXiv:1412.6980), algorithm 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["adam", "falling_rate", "moving_average"]

_BETA1, _BETA2 = 0.9, 0.99
_TINY = 1e-12

Arrays = dict[str, NDArray[Any]]


def adam(
    weights: Mapping[str, NDArray[Any]],
    gradients: Mapping[str, NDArray[Any]],
    moments: Mapping[str, NDArray[Any]],
    *,
    learning_rate: float,
    step: int,
    momentum: float = _BETA1,
) -> tuple[Arrays, Arrays]:
    """Takes one step; the size of the gradients, and so their normaliser, does not matter.

    Args:
      weights: by name.
      gradients: of the same names and shapes.
      moments: as an earlier step returned them; empty at first.
      learning_rate: step size.
      step: number of this step, from 1.
      momentum: beta_1, how much of the gradients before this one moves the weights too.

    Returns:
      New float32 weights, and new moments `first/NAME` and `second/NAME`.
    """
    updated: Arrays = {}
    kept: Arrays = {}
    for name, weight in weights.items():
        gradient = np.asarray(gradients[name], dtype=np.float64)
        first = momentum * moments.get(f"first/{name}", 0.0) + (1 - momentum) * gradient
        second = _BETA2 * moments.get(f"second/{name}", 0.0) + (1 - _BETA2) * gradient**2
        direction = (first / (1 - momentum**step)) / (np.sqrt(second / (1 - _BETA2**step)) + _TINY)
        updated[name] = (weight - learning_rate * direction).astype(np.float32)
        kept[f"first/{name}"], kept[f"second/{name}"] = first, second
    return updated, kept


def moving_average(
    average: Mapping[str, NDArray[Any]],
    weights: Mapping[str, NDArray[Any]],
    *,
    decay: float,
    step: int,
) -> Arrays:
    """Returns decay * average + (1 - decay) * weights, with less decay in the first steps.

    Without the correction the average would keep the initial weights for 1 / (1 - decay) steps.
    """
    kept = min(decay, step / (step + 9.0))
    return {
        name: (kept * average[name] + (1.0 - kept) * weights[name]).astype(np.float32)
        for name in weights
    }


def falling_rate(rate: float, step: int, num_steps: int) -> float:
    """Returns a learning rate that stays for half of the steps, then falls in a line.

    >>> [falling_rate(1.0, step, 100) for step in (1, 50, 75)]
    [1.0, 1.0, 0.52]
    """
    return rate * min(1.0, 2.0 * (1.0 - step / num_steps) + 0.02)
