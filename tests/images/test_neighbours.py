"""The measures of nearest neighbours in `benchmarks/`: closed cases."""

from __future__ import annotations

import numpy as np
import pytest
from image_neighbours import mode_shares, neighbours


def test_points_of_one_kind_in_two_halves_agree():
    points = np.random.default_rng(0).normal(size=(800, 3))
    found = neighbours(points[:400], points[400:])
    assert found.precision > 0.9 and found.recall > 0.9 and found.coverage > 0.9
    assert found.density == pytest.approx(1.0, abs=0.1)


def test_two_kinds_far_apart_share_nothing():
    rng = np.random.default_rng(1)
    found = neighbours(rng.normal(size=(50, 2)), rng.normal(size=(50, 2)) + 100.0)
    assert (found.precision, found.recall, found.density, found.coverage) == (0, 0, 0, 0)


def test_counts_by_hand_on_a_line():
    """Balls of the nearest neighbour: 0, 1, 3 reach 1, 1 and 2; 0.5, 10, 11 reach 9.5, 1 and 1."""
    real, made = np.array([[0.0], [1.0], [3.0]]), np.array([[0.5], [10.0], [11.0]])
    found = neighbours(real, made, k=1)
    assert found.precision == pytest.approx(1 / 3)  # 0.5 lies in the balls of 0 and 1
    assert found.density == pytest.approx(2 / 3)
    assert found.coverage == pytest.approx(2 / 3)
    assert found.recall == pytest.approx(1.0)  # all within 9.5 of 0.5


def test_dropped_modes_lower_recall_and_coverage_alone():
    rng = np.random.default_rng(2)
    real = np.concatenate([rng.normal(size=(200, 2)), rng.normal(size=(200, 2)) + 50.0])
    found = neighbours(real, rng.normal(size=(400, 2)))
    assert found.precision > 0.9
    assert found.coverage == pytest.approx(0.5, abs=0.05)
    assert found.recall == pytest.approx(0.5, abs=0.05)


def test_shares_of_modes_count_classes_that_are_missing():
    np.testing.assert_allclose(mode_shares(np.array([0, 0, 2, 2]), 4), [0.5, 0, 0.5, 0])
