from __future__ import annotations

import itertools

import numpy as np
import pytest

from fedloom.server.aggregation import unflatten, weighted_mean


def answers() -> dict[str, dict[str, np.ndarray]]:
    rng = np.random.default_rng(1)
    return {name: {"x": rng.normal(size=50).astype(np.float32)} for name in "abcd"}


def test_the_mean_is_the_same_bit_for_bit_whichever_site_answered_first():
    given = answers()
    weights = {"a": 10.0, "b": 1.0, "c": 5.0, "d": 4.0}
    means = [
        weighted_mean({name: given[name] for name in order}, weights)["x"]
        for order in itertools.permutations(given)
    ]
    assert all(np.array_equal(means[0], other) for other in means)
    assert means[0].dtype == np.float64


def test_a_long_vector_is_cut_in_the_order_of_the_shapes():
    cut = unflatten(np.arange(7.0), {"b": (2, 2), "a": (3,)})
    assert cut["b"].tolist() == [[0.0, 1.0], [2.0, 3.0]] and cut["a"].tolist() == [4.0, 5.0, 6.0]


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
