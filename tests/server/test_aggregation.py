from __future__ import annotations

import itertools

import numpy as np
import pytest

from fedloom.server.aggregation import total, weighted_mean


def answers() -> dict[str, dict[str, np.ndarray]]:
    rng = np.random.default_rng(1)
    return {name: {"x": rng.normal(size=50).astype(np.float32)} for name in "abcd"}


def test_the_total_is_the_same_bit_for_bit_whichever_site_answered_first():
    given = answers()
    sums = [
        total({name: given[name] for name in order})["x"] for order in itertools.permutations(given)
    ]
    assert all(np.array_equal(sums[0], other) for other in sums)
    assert sums[0].dtype == np.float64


def test_the_mean_weighs_sites_by_their_size():
    given = answers()
    weights = {"a": 10.0, "b": 1.0, "c": 5.0, "d": 4.0}
    expected = np.average(
        [given[name]["x"].astype(np.float64) for name in given], axis=0, weights=[10, 1, 5, 4]
    )
    assert weighted_mean(given, weights)["x"] == pytest.approx(expected)


def test_equal_weights_average_to_themselves():
    given = {name: {"x": np.float32([1.5, -2.0])} for name in "ab"}
    assert weighted_mean(given, {"a": 3.0, "b": 7.0})["x"] == pytest.approx([1.5, -2.0])
