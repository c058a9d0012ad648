"""The tilt against iterative proportional fitting, which it must become where there is no noise."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from fedloom.common.models.cell_tables import CellTables
from fedloom.server.learners.tilt import NoisyTables, tilt

SIZES = (3, 2, 4)
PAIRS = CellTables(SIZES, tuple(itertools.combinations(range(3), 2)))


def domain() -> np.ndarray:
    """Every record that there can be, once: (columns, R)."""
    return np.stack([part.reshape(-1) for part in np.indices(SIZES)])


def counts_of(weights: np.ndarray, codes: np.ndarray) -> np.ndarray:
    parts = [
        np.bincount(PAIRS.cells(t, codes), weights, minlength=span.stop - span.start)
        for t, span in enumerate(PAIRS.spans)
    ]
    return np.concatenate(parts)


def fitted_by_proportions(wanted: np.ndarray, codes: np.ndarray, rounds: int) -> np.ndarray:
    """Deming & Stephan 1940: each table in turn is scaled to what is wanted."""
    weights = np.ones(codes.shape[1])
    for _ in range(rounds):
        for table, span in enumerate(PAIRS.spans):
            cells = PAIRS.cells(table, codes)
            held = np.bincount(cells, weights, minlength=span.stop - span.start)
            weights *= (wanted[span] / held)[cells]
    return weights


def test_without_noise_it_is_iterative_proportional_fitting():
    codes, truth = domain(), np.random.default_rng(1).gamma(1.0, size=24) * 100
    wanted = counts_of(truth, codes)
    noisy = NoisyTables(tables=PAIRS, codes=codes, counts=wanted, std=1e-6)
    (theta,) = tilt([noisy], truth.sum(), strength=1.0, sweeps=400)
    weights = np.exp(PAIRS.sums(theta, codes))
    weights *= truth.sum() / weights.sum()
    np.testing.assert_allclose(weights, fitted_by_proportions(wanted, codes, 2000), rtol=1e-4)
    assert np.abs(weights - truth).max() > 1.0  # pairs do not tell the whole table


def test_slack_is_what_the_noise_allows():
    codes, rng = domain(), np.random.default_rng(2)
    wanted = counts_of(rng.gamma(1.0, size=24) * 100, codes) + rng.normal(0, 20, PAIRS.length)
    noisy = NoisyTables(tables=PAIRS, codes=codes, counts=wanted, std=20.0)
    (theta,) = tilt([noisy], 2400.0, strength=0.5, sweeps=400)
    weights = np.exp(PAIRS.sums(theta, codes))
    weights *= 2400.0 / weights.sum()
    # A table's theta is known up to a constant, which moves all its cells alike.
    for span in PAIRS.spans:
        left = (wanted - counts_of(weights, codes) - 0.5 * 400 * theta)[span]
        assert np.ptp(left) < 1e-3 * 2400


def test_far_noisier_tables_leave_the_pool_alone():
    codes = domain()
    wanted = np.random.default_rng(3).normal(0, 1e6, PAIRS.length)
    noisy = NoisyTables(tables=PAIRS, codes=codes, counts=wanted, std=1e6)
    (theta,) = tilt([noisy], 100.0, strength=1e6)
    assert np.abs(theta).max() < 1e-3


def test_nothing_asked_is_nothing_tilted():
    assert tilt([], 100.0, strength=0.12) == []


@pytest.mark.parametrize("order", [2, 3])
def test_tables_of_any_order_are_met(order):
    tables = CellTables(SIZES, tuple(itertools.combinations(range(3), order)))
    codes, truth = domain(), np.random.default_rng(4).gamma(1.0, size=24) * 100
    counts = np.concatenate(
        [
            np.bincount(tables.cells(t, codes), truth, minlength=span.stop - span.start)
            for t, span in enumerate(tables.spans)
        ]
    )
    noisy = NoisyTables(tables=tables, codes=codes, counts=counts, std=1e-6)
    (theta,) = tilt([noisy], truth.sum(), strength=1.0, sweeps=200)
    weights = np.exp(tables.sums(theta, codes))
    weights *= truth.sum() / weights.sum()
    for t, span in enumerate(tables.spans):
        found = np.bincount(tables.cells(t, codes), weights, minlength=span.stop - span.start)
        np.testing.assert_allclose(found, counts[span], rtol=1e-3)
