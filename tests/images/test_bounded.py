"""Whole vectors of bounded norm: the bound holds whatever comes in, and sums are exact."""

from __future__ import annotations

import numpy as np
import pytest

from fedloom.common.images import bounded
from fedloom.common.images.bounded import (
    packed_bound,
    packed_sum,
    packed_width,
    steps_of,
    unpacked,
    whole,
)

HOSTILE = [0.0, 1.0, -1.0, 1e-300, 1e150, -1e300, np.inf, -np.inf, np.nan]


@pytest.mark.parametrize("width", [1, 7, 405])
@pytest.mark.parametrize("bound", [1000, 1521, 1 << 26])
def test_no_record_exceeds_the_bound(width, bound):
    rng = np.random.default_rng(width)
    usual = rng.normal(size=(200, width)) * 10.0 ** rng.integers(-3, 4, size=(200, 1))
    hostile = rng.choice(HOSTILE, size=(200, width))
    for vectors in (usual, hostile):
        with np.errstate(all="ignore"):
            steps = whole(vectors, 2.0, bound)
        assert (steps == np.rint(steps)).all()
        assert (np.einsum("nd,nd->n", steps, steps) <= float(bound) ** 2).all()


def test_without_room_for_rounding_the_bound_would_not_hold(monkeypatch):
    """The twin: rounded at the full radius, and not looked at again."""
    vectors = np.full((1, 405), 1.0)
    rounded = np.rint(vectors / np.linalg.norm(vectors) * 1017)
    assert np.linalg.norm(rounded) > 1017
    monkeypatch.setattr(bounded, "steps_of", lambda bound, width: float(bound))
    assert not whole(vectors, 1.0, 1017).any()  # the last look still holds it


def test_what_is_short_keeps_its_length_in_steps_and_what_is_long_is_clipped():
    steps = whole(np.array([[0.3, 0.4], [30.0, 40.0]]), 1.0, 100_000)
    scale = steps_of(100_000, 2)
    np.testing.assert_allclose(steps / scale, [[0.3, 0.4], [0.6, 0.8]], atol=1e-4)


@pytest.mark.parametrize("width", [1, 2, 30])
def test_packed_products_are_exact_and_of_the_norm_that_is_said(width):
    rng = np.random.default_rng(3)
    vectors = np.rint(rng.normal(size=(50, width)) * 300)
    by_hand = sum(np.outer(row, row) for row in vectors.astype(int))
    np.testing.assert_array_equal(unpacked(packed_sum(vectors), width), by_hand)
    for row in vectors[:10]:
        packed = packed_sum(row[None]).astype(float)
        assert packed.shape == (packed_width(width),)
        assert np.linalg.norm(packed) <= 29 * float(row @ row) * (1 + 1e-12)


def test_equal_weights_would_break_the_norm_or_waste_noise():
    """The twin: with a weight of root two, rounded up, two equal coordinates exceed the bound."""
    row = np.array([700.0, 700.0])
    square = float(row @ row)
    packed = np.array([29 * row[0] ** 2, 42 * row[0] * row[1], 29 * row[1] ** 2])
    assert np.linalg.norm(packed) > 29 * square
    assert np.linalg.norm(packed_sum(row[None]).astype(float)) <= 29 * square


def test_the_bound_of_what_is_multiplied_out_is_the_largest_that_fits():
    norm = 1 << 26
    bound = packed_bound(norm)
    assert 29 * bound**2 <= norm < 29 * (bound + 1) ** 2
