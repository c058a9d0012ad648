"""Marginals from noisy counts: exact without noise, better than plain clipping with it."""

from __future__ import annotations

import numpy as np
import pytest

from fedloom.common.encoding import Encoding
from fedloom.common.marginals import NoisyMarginals, OneWayMarginals
from fedloom.common.schema import Column, Schema
from fedloom.server.learners.class_marginals import class_prior, log_marginals
from fedloom.server.learners.optimisers import adam, moving_average


def test_without_noise_they_are_the_frequencies(toy):
    marginals = np.exp(log_marginals(toy.statistics(0.0)))
    for label in (0, 1):
        rows = toy.codes[toy.classes == label]
        for j, block in enumerate(toy.encoding.features):
            shares = np.bincount(rows[:, j], minlength=block.size) / len(rows)
            span = slice(block.start, block.start + block.size)
            np.testing.assert_allclose(marginals[label, span], shares, atol=1e-5)


@pytest.mark.parametrize("noise", [0.0, 30.0, 3000.0])
def test_every_cell_keeps_a_share_and_blocks_sum_to_one(toy, noise):
    marginals = np.exp(log_marginals(toy.statistics(noise)))
    assert np.isfinite(marginals).all() and (marginals > 0).all()
    for block in toy.encoding.features:
        sums = marginals[:, block.start : block.start + block.size].sum(axis=1)
        np.testing.assert_allclose(sums, 1.0, rtol=1e-9)


def test_fine_grids_are_read_better_than_by_clipping_noise_away():
    """Twenty tables of 64 smooth bins; the mean error must fall by a fifth."""
    schema = Schema((Column("x", "integer", minimum=0, maximum=63),))
    encoding = Encoding(schema)
    truth = np.exp(-(((np.arange(64) - 30) / 12.0) ** 2))
    truth /= truth.sum()
    counts = np.concatenate([[2000.0], 2000.0 * truth, np.zeros(encoding.width - 64)])
    ours, clipped = [], []
    for seed in range(20):
        noisy = counts + np.random.default_rng(seed).normal(
            0, 30.0, OneWayMarginals(encoding).length
        )
        statistics = NoisyMarginals(encoding=encoding, look=noisy, look_std=30.0)
        ours.append(np.abs(np.exp(log_marginals(statistics))[0, :64] - truth).sum())
        plain = np.maximum(noisy[1:65], 0.0)
        clipped.append(np.abs(plain / plain.sum() - truth).sum())
    assert np.mean(ours) < 0.8 * np.mean(clipped)


def test_a_certain_spike_on_a_fine_grid_stays():
    encoding = Encoding(Schema((Column("x", "integer", minimum=0, maximum=63),)))
    counts = np.full(1 + encoding.width, 20.0)
    counts[1 + 5] = 2000.0
    counts[0] = counts[1:].sum()
    statistics = NoisyMarginals(encoding=encoding, look=counts, look_std=30.0)
    share = np.exp(log_marginals(statistics))[0, 5]
    assert share == pytest.approx(2000.0 / counts[0], rel=0.1)


def test_classes_that_may_not_be_synthesised_have_no_prior(toy):
    prior = class_prior(toy.statistics(500.0))
    assert prior.sum() == pytest.approx(1.0)
    assert (prior[~np.array(toy.encoding.class_sampleable)] == 0).all()


@pytest.mark.parametrize("momentum", [0.9, 0.0])
def test_adam_takes_the_steps_of_torch_whatever_the_scale(momentum):
    import torch

    rng = np.random.default_rng(2)
    weight = torch.nn.Parameter(torch.zeros(4, dtype=torch.float64))
    oracle = torch.optim.Adam([weight], lr=0.1, betas=(momentum, 0.99), eps=1e-12)
    ours, moments = {"w": np.zeros(4, dtype=np.float32)}, {}
    scaled, scaled_moments = dict(ours), {}
    how = {"learning_rate": 0.1, "momentum": momentum}
    for step in range(1, 6):
        gradient = rng.normal(0, 1, 4)
        weight.grad = torch.from_numpy(gradient)
        oracle.step()
        ours, moments = adam(ours, {"w": gradient}, moments, **how, step=step)
        scaled, scaled_moments = adam(
            scaled, {"w": 1000.0 * gradient}, scaled_moments, **how, step=step
        )
    np.testing.assert_allclose(ours["w"], weight.detach().numpy(), rtol=1e-5)
    np.testing.assert_allclose(ours["w"], scaled["w"], rtol=1e-5)


def test_moving_average_forgets_the_initial_weights_early():
    average = {"w": np.zeros(1)}
    for step in range(1, 11):
        average = moving_average(average, {"w": np.ones(1)}, decay=0.99, step=step)
    assert average["w"][0] > 0.99
