"""A smooth margin has little noise in empty tails, keeps spikes, and states how it moves."""

from __future__ import annotations

import numpy as np
import pytest

from fedloom.privacy.inference.margins import raw_margin, smooth_margin

CELLS = 64
MIDDLES = np.arange(CELLS) + 0.5
STD = 20.0


def counts_of(values: np.ndarray) -> np.ndarray:
    return np.histogram(values, np.arange(CELLS + 1))[0].astype(float)


def test_the_variance_of_a_narrow_column_has_a_fraction_of_the_raw_noise():
    rng = np.random.default_rng(0)
    exact = counts_of(rng.normal(24, 6, 20_000).clip(0, 63.9))
    weights = (MIDDLES - 24.0) ** 2
    true = float(exact @ weights / exact.sum())
    smooth, raw, stated = [], [], []
    for _ in range(40):
        noisy = exact + STD * rng.normal(size=CELLS)
        margin = smooth_margin(noisy, np.ones(CELLS), STD**2)
        smooth.append(margin.mean(weights))
        stated.append(STD * np.linalg.norm(margin.influence(weights)))
        raw.append(float(noisy @ weights / exact.sum()))
    assert np.std(smooth) < 0.3 * np.std(raw)
    assert abs(np.mean(smooth) - true) < np.std(smooth)
    assert np.std(smooth) == pytest.approx(np.median(stated), rel=0.4)


def test_spikes_are_kept_as_they_were_counted():
    rng = np.random.default_rng(1)
    exact = counts_of(rng.normal(30, 9, 20_000).clip(0, 63.9))
    exact[40] += 6000
    noisy = exact + STD * rng.normal(size=CELLS)
    margin = smooth_margin(noisy, np.ones(CELLS), STD**2)
    assert margin.kept[40] and margin.kept.sum() < 12
    assert margin.counts[40] == pytest.approx(noisy[40])


def test_influence_is_the_slope_of_the_mean():
    rng = np.random.default_rng(2)
    noisy = counts_of(rng.gamma(4, 5, 30_000).clip(0, 63.9)) + STD * rng.normal(size=CELLS)
    margin = smooth_margin(noisy, np.ones(CELLS), STD**2)
    slopes = margin.influence(MIDDLES)
    for cell in (5, 20, 33):
        moved = noisy.copy()
        moved[cell] += 1.0
        change = smooth_margin(moved, np.ones(CELLS), STD**2).mean(MIDDLES) - margin.mean(MIDDLES)
        assert change == pytest.approx(slopes[cell], rel=0.25, abs=2e-5)


def test_few_cells_and_categories_are_not_smoothed():
    noisy = np.array([10.0, -3.0, 5.0])
    assert smooth_margin(noisy, np.ones(3), 4.0).smooth == 0
    assert raw_margin(noisy).shares == pytest.approx([2 / 3, 0.0, 1 / 3])
    assert raw_margin(np.array([-1.0, -2.0])).shares == pytest.approx([0.5, 0.5])
