"""Named arrays from the answers of many sites."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["unflatten", "weighted_mean"]

Arrays = dict[str, np.ndarray[Any, np.dtype[Any]]]


def unflatten(
    vector: np.ndarray[Any, np.dtype[Any]], shapes: Mapping[str, tuple[int, ...]]
) -> Arrays:
    """Cuts one long vector into named arrays, in the order of `shapes`.

    >>> unflatten(np.arange(3.0), {"b": (2,), "a": (1,)})["a"].tolist()
    [2.0]
    """
    arrays, start = {}, 0
    for name, shape in shapes.items():
        stop = start + math.prod(shape)
        arrays[name] = vector[start:stop].reshape(shape)
        start = stop
    return arrays


def weighted_mean(answers: Mapping[str, Arrays], weights: Mapping[str, float]) -> Arrays:
    """Averages the sites' weights (FedAvg, McMahan et al. 2017, algorithm 1).

    Args:
      answers: arrays by site; the same names and shapes everywhere.
      weights: positive and public or noised numbers by site, such as noisy numbers of records.

    >>> arrays = {"a": {"x": np.zeros(1)}, "b": {"x": np.ones(1)}}
    >>> weighted_mean(arrays, {"a": 1.0, "b": 3.0})["x"].tolist()
    [0.75]
    """
    names = sorted(answers)
    norm = sum(weights[name] for name in names)
    return {
        key: np.sum(
            [answers[name][key].astype(np.float64) * (weights[name] / norm) for name in names],
            axis=0,
        )
        for key in sorted(answers[names[0]])
    }
