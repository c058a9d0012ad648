"""One array from the arrays of many sites."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["total", "weighted_mean"]

Arrays = dict[str, np.ndarray[Any, np.dtype[Any]]]


def total(answers: Mapping[str, Arrays]) -> Arrays:
    """Adds the sites' arrays, in float64 and in order of the sites' names.

    The order makes the sum the same, bit for bit, whichever site answered first.

    >>> total({"a": {"x": np.ones(2)}, "b": {"x": np.ones(2)}})["x"].tolist()
    [2.0, 2.0]
    """
    names = sorted(answers)
    return {
        key: np.sum([answers[name][key].astype(np.float64) for name in names], axis=0)
        for key in sorted(answers[names[0]])
    }


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
