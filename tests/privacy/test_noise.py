"""The noise source: laws, secrecy of its state, forks."""

from __future__ import annotations

import copy
import math
import os
import pickle

import numpy as np
import pytest
import scipy.stats

from fedloom.privacy.noise import NoiseSource, round_to_grid

SEED = 20261122


@pytest.mark.parametrize("scale, accepted", [(1.0, True), (0.98, False), (1.02, False)])
def test_normals_have_the_declared_scale(scale, accepted):
    """Kolmogorov-Smirnov at 0.001 on 200000 draws: one false alarm in 1000 seeds; this is fixed."""
    draws = NoiseSource.from_insecure_seed(SEED).normal((200, 1000), std=2.5)
    assert draws.shape == (200, 1000) and draws.dtype == np.float64
    p_value = scipy.stats.kstest(draws.reshape(-1), scipy.stats.norm(scale=2.5 * scale).cdf).pvalue
    assert bool(p_value > 1e-3) is accepted


def test_normals_have_their_tails():
    """Draws beyond 4 deviations: 63.3 expected of a million; outside 28..110 once in 10^5 seeds."""
    draws = NoiseSource.from_insecure_seed(SEED).normal(1_000_000, std=1.0)
    assert 28 < int((np.abs(draws) > 4.0).sum()) < 110


@pytest.mark.parametrize("lag", [1, 2, 6434, 8192])
def test_normals_are_uncorrelated(lag):
    """Beyond 4.5 deviations once in 10^5 seeds for each lag; the lags are those of the blocks."""
    draws = NoiseSource.from_insecure_seed(SEED).normal(400_000, std=1.0)
    correlation = float(np.mean(draws[lag:] * draws[:-lag]))
    assert abs(correlation) < 4.5 / math.sqrt(len(draws) - lag)


def test_uniforms_are_uniform_and_never_at_the_ends():
    """Kolmogorov-Smirnov at 0.001; this seed is fixed."""
    draws = NoiseSource.from_insecure_seed(SEED).uniform(200_000)
    assert 0.0 < draws.min() and draws.max() < 1.0
    assert scipy.stats.kstest(draws, "uniform").pvalue > 1e-3


@pytest.mark.parametrize("count", [0, 1, 5, 20000])
def test_any_number_of_draws(count):
    source = NoiseSource()
    assert source.normal(count, std=1.0).shape == (count,)
    assert source.normal((count, 2), std=0.0).any() == np.False_
    assert source.uniform(count).shape == (count,)


@pytest.mark.parametrize("std", [-1.0, math.nan, math.inf])
def test_a_useless_deviation_is_refused(std):
    with pytest.raises(ValueError, match="std"):
        NoiseSource().normal(3, std=std)


@pytest.mark.parametrize("rate, accepted", [(0.05, True), (0.045, False)])
def test_batches_are_poisson_sampled(rate, accepted):
    """Chi-square over sizes at 0.001: sizes are binomial, false alarm once in 1000 seeds."""
    source = NoiseSource.from_insecure_seed(SEED)
    sizes = np.array([len(source.poisson_sample(40, 0.05)) for _ in range(20000)])
    observed = np.bincount(np.minimum(sizes, 8), minlength=9)
    law = scipy.stats.binom(40, rate)
    expected = np.append(law.pmf(range(8)), law.sf(7)) * len(sizes)
    assert bool(scipy.stats.chisquare(observed, expected).pvalue > 1e-3) is accepted


def test_records_enter_batches_independently():
    """Pairs of records: each in with 0.3, both with 0.09; 5 deviations, once in 10^6 seeds."""
    source = NoiseSource.from_insecure_seed(SEED)
    member = np.zeros((20000, 2))
    for row in member:
        row[source.poisson_sample(2, 0.3)] = 1.0
    assert abs(member.mean(0) - 0.3).max() < 5 * math.sqrt(0.21 / 20000)
    assert abs((member[:, 0] * member[:, 1]).mean() - 0.09) < 5 * math.sqrt(0.09 * 0.91 / 20000)


def test_batches_are_sorted_indices_and_may_be_empty():
    source = NoiseSource()
    chosen = source.poisson_sample(1000, 0.5)
    assert chosen.dtype == np.int64 and (np.diff(chosen) > 0).all()
    assert len(source.poisson_sample(0, 0.5)) == 0
    assert len(source.poisson_sample(10, 0.0)) == 0
    assert source.poisson_sample(10, 1.0).tolist() == list(range(10))
    with pytest.raises(ValueError, match="sample_rate"):
        source.poisson_sample(10, 1.1)


def test_sources_never_repeat_each_other():
    assert not np.isin(NoiseSource().uniform(100), NoiseSource().uniform(100)).any()
    source = NoiseSource()
    assert not np.isin(source.normal(100, 1.0), source.normal(100, 1.0)).any()


def test_only_seeded_sources_are_insecure_and_replay():
    a, b = (NoiseSource.from_insecure_seed(4) for _ in range(2))
    assert a.insecure and not NoiseSource().insecure
    assert (a.normal(9, 1.0) == b.normal(9, 1.0)).all()
    assert (a.poisson_sample(99, 0.5) == b.poisson_sample(99, 0.5)).all()
    assert not np.isin(NoiseSource.from_insecure_seed(5).normal(9, 1.0), a.normal(9, 1.0)).any()


@pytest.mark.parametrize("copier", [copy.copy, copy.deepcopy, pickle.dumps])
def test_sources_cannot_be_copied(copier):
    with pytest.raises(TypeError, match="repeat its noise"):
        copier(NoiseSource())


@pytest.mark.parametrize("make", [NoiseSource, lambda: NoiseSource.from_insecure_seed(1)])
def test_a_forked_child_does_not_repeat_its_parent(make):
    """The spare draws of the parent must not survive the fork either."""
    source = make()
    source.normal(10, std=1.0)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, source.normal(50, std=1.0).tobytes())
        os._exit(0)
    os.waitpid(child, 0)
    childs = np.frombuffer(os.read(reader, 400))
    os.close(reader)
    os.close(writer)
    assert len(childs) == 50
    assert not np.isin(childs, source.normal(50, std=1.0)).any()


@pytest.mark.parametrize("law, accepted", [("permutation", True), ("half sorted", False)])
def test_permutations_have_all_orders_alike(law, accepted):
    """Chi-square over the 24 orders of four at 0.001 on 24000 draws; this seed is fixed."""
    source = NoiseSource.from_insecure_seed(SEED)
    orders = np.array([source.permutation(4) for _ in range(24000)])
    assert (np.sort(orders, axis=1) == np.arange(4)).all()
    if law == "half sorted":
        orders[::2, :2] = np.sort(orders[::2, :2], axis=1)
    observed = np.unique(orders, axis=0, return_counts=True)[1]
    assert bool(scipy.stats.chisquare(observed).pvalue > 1e-3) is accepted


def test_a_permutation_of_nothing_is_nothing():
    assert NoiseSource().permutation(0).tolist() == []


@pytest.mark.parametrize("std", [1e-6, 0.7, 1.0, 3.0, 1e9])
def test_the_grid_is_a_public_power_of_two_far_below_the_noise(std):
    values = NoiseSource().normal(1000, std=5 * std)
    snapped = round_to_grid(values.copy(), std)
    grid = 2.0 ** (math.floor(math.log2(std)) - 10)
    assert (snapped / grid == np.rint(snapped / grid)).all()
    assert np.abs(snapped - values).max() <= std / 2048
