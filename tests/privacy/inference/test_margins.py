"""The likely shape of a column is near it in empty tails, and keeps spikes."""

from __future__ import annotations

import numpy as np
import pytest

from fedloom.privacy.inference.margins import raw_shares, smooth_shares

CELLS = 64
MIDDLES = np.arange(CELLS) + 0.5
STD = 20.0


def counts_of(values: np.ndarray) -> np.ndarray:
    return np.histogram(values, np.arange(CELLS + 1))[0].astype(float)


def test_a_narrow_column_is_spread_nearly_as_it_is_and_by_raw_counts_far_wider():
    rng = np.random.default_rng(0)
    exact = counts_of(rng.normal(24, 6, 20_000).clip(0, 63.9))
    weights = (MIDDLES - 24.0) ** 2
    true = float(exact @ weights / exact.sum())
    smooth, raw = [], []
    for _ in range(40):
        noisy = exact + STD * rng.normal(size=CELLS)
        smooth.append(smooth_shares(noisy, np.ones(CELLS), STD**2) @ weights)
        raw.append(raw_shares(noisy) @ weights)
    assert abs(np.mean(smooth) - true) < np.std(smooth) < 0.1 * true
    assert np.mean(raw) > 1.15 * true, "the noise of empty tails would not be seen"


def test_spikes_are_kept_as_they_were_counted():
    rng = np.random.default_rng(1)
    exact = counts_of(rng.normal(30, 9, 20_000).clip(0, 63.9))
    exact[40] += 6000
    noisy = exact + STD * rng.normal(size=CELLS)
    shares = smooth_shares(noisy, np.ones(CELLS), STD**2)
    assert shares[40] == pytest.approx(noisy[40] / exact.sum(), rel=0.02)
    assert shares[41] == pytest.approx(exact[41] / exact.sum(), rel=0.2)


def test_few_cells_and_categories_are_not_smoothed():
    noisy = np.array([10.0, -3.0, 5.0])
    assert smooth_shares(noisy, np.ones(3), 4.0) == pytest.approx([2 / 3, 0.0, 1 / 3])
    assert raw_shares(noisy) == pytest.approx([2 / 3, 0.0, 1 / 3])
    assert raw_shares(np.array([-1.0, -2.0])) == pytest.approx([0.5, 0.5])
