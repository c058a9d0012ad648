"""Noise is taken out of pair tables: what is left is nearer to the real pairs, never off blocks."""

from __future__ import annotations

import numpy as np
import pytest

from fedloom.server.learners.pair_targets import group_of_cells, pair_targets, shrunk


def real_pairs(toy):
    """Pair frequencies of the toy's classes, zero within blocks."""
    exact = toy.statistics(pairs=True)
    sizes = np.maximum(exact.class_counts(), 1.0)
    return np.stack([exact.gram(label) / sizes[label] for label in range(len(sizes))])


def test_without_noise_targets_are_the_tables(toy):
    targets, real = pair_targets(toy.statistics(pairs=True)), real_pairs(toy)
    np.testing.assert_allclose(targets[:2], real[:2], atol=2e-3)


def test_targets_are_nearer_than_the_noisy_tables(toy):
    """Noise of 60 records a cell, five seeds: the error falls to less than half on each.

    Twin: tables that are only symmetrised keep all of their error."""
    real = real_pairs(toy)
    for seed in range(5):
        statistics = toy.statistics(60.0, seed, pairs=True)
        sizes = np.maximum(statistics.class_counts(), 1.0)
        raw = np.stack([statistics.gram(label) / sizes[label] for label in range(len(sizes))])
        errors = [np.square((found - real)[:2]).sum() for found in (pair_targets(statistics), raw)]
        assert errors[0] < 0.5 * errors[1]


def test_targets_are_symmetric_and_empty_within_blocks(toy):
    statistics = toy.statistics(60.0, pairs=True)
    targets, cells = pair_targets(statistics), group_of_cells(statistics)
    block = np.repeat(np.arange(3), [b.size for b in toy.encoding.features])
    same = block[:, None] == block[None, :]
    assert cells.tolist() == list(range(toy.encoding.width))
    assert (targets[:, same] == 0).all()
    np.testing.assert_allclose(targets, targets.transpose(0, 2, 1), atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_pure_noise_vanishes(seed):
    """Eigenvalues of noise pass the edge by a few percent at most; twin: half the edge."""
    rng = np.random.default_rng(seed)
    noise = np.triu(rng.normal(0, 1.0, (80, 80)), 1)
    noise += noise.T
    across = 1.0 - np.kron(np.eye(8), np.ones((10, 10)))
    energy = np.square(noise * across).sum()
    assert np.square(shrunk(noise * across, 1.0, across)).sum() < 0.02 * energy
    assert np.square(shrunk(noise * across, 0.5, across)).sum() > 0.1 * energy


def test_a_strong_signal_stays():
    rng = np.random.default_rng(1)
    direction = rng.normal(size=60)
    across = 1.0 - np.kron(np.eye(6), np.ones((10, 10)))
    signal = 5.0 * np.outer(direction, direction) * across
    noise = np.triu(rng.normal(0, 1.0, (60, 60)), 1)
    found = shrunk((signal + noise + noise.T) * across, 1.0, across)
    assert np.square(found - signal).sum() < 0.1 * np.square(signal).sum()
