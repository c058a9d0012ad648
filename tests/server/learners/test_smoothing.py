import numpy as np
import pytest

from fedloom.server.learners.smoothing import flat, near, tree


@pytest.mark.parametrize("total", [1.0, 50_000.0])
def test_without_noise_nothing_changes(total):
    rng = np.random.default_rng(20260101)
    exact = total * rng.dirichlet(np.ones(23))
    none = np.zeros(23)
    np.testing.assert_allclose(flat(exact, none, total), exact, atol=1e-5 * total)
    even = np.full(23, total / 23)
    np.testing.assert_allclose(near(exact, none, even), exact, atol=1e-5 * total)
    found = tree(exact, np.zeros((23, 23)), np.ones(23), total)
    np.testing.assert_allclose(found, exact, atol=1e-5 * total)


@pytest.mark.parametrize("std", [3.0, 100.0, 1e4])
def test_results_are_counts_with_the_given_sum(std):
    rng = np.random.default_rng(1)
    for size in (1, 2, 7, 64):
        noisy = 1000.0 * rng.dirichlet(np.ones(size)) + std * rng.standard_normal(size)
        even = np.full(size, 1000.0 / size)
        variances = np.full(size, std**2)
        for found in (
            flat(noisy, variances, 1000.0),
            near(noisy, variances, even),
            tree(noisy, np.diag(variances), even, 1000.0),
        ):
            assert (found >= 0).all() and found.sum() == pytest.approx(1000.0)


def distances(shape, std, method, seeds=20):
    """Mean total variation from the truth: smoothed, and with negative counts cut off."""
    total = shape.sum()
    ours, cut = [], []
    for seed in range(seeds):
        noisy = shape + std * np.random.default_rng(seed).standard_normal(len(shape))
        plain = np.maximum(noisy, 0.0)
        ours.append(np.abs(method(noisy) - shape).sum() / 2 / total)
        cut.append(np.abs(plain * total / plain.sum() - shape).sum() / 2 / total)
    return float(np.mean(ours)), float(np.mean(cut))


def test_few_heavy_among_many_empty_cells_are_told_apart():
    shape = np.zeros(100)
    shape[[3, 40, 77]] = (500.0, 300.0, 200.0)
    ours, cut = distances(shape, 30.0, lambda y: flat(y, np.full(100, 900.0), 1000.0))
    assert ours < 0.2 * cut


def test_smooth_axes_come_out_smooth():
    shape = np.exp(-(((np.arange(64) - 30) / 12.0) ** 2))
    shape *= 1000.0 / shape.sum()
    ours, cut = distances(shape, 20.0, lambda y: tree(y, 400.0 * np.eye(64), np.ones(64), 1000.0))
    assert ours < 0.6 * cut


def test_a_class_stays_near_the_others_unless_it_stands_out():
    expected = np.array([400.0, 300.0, 200.0, 100.0, 0.0])
    noise = np.full(5, 50.0**2)
    same, _ = distances(expected, 50.0, lambda y: near(y, noise, expected))
    unlike = np.array([100.0, 100.0, 100.0, 100.0, 600.0])
    other, _ = distances(unlike, 50.0, lambda y: near(y, noise, expected))
    assert same < 0.05 and other < 0.15


def test_a_class_that_lacks_what_others_have_gets_hardly_any_of_it():
    expected = np.array([6000.0, 3000.0, 400.0, 300.0, 300.0])
    truth = np.array([6700.0, 3300.0, 0.0, 0.0, 0.0])
    noisy = truth + 30.0 * np.random.default_rng(0).standard_normal((50, 5))
    found = [near(counts, np.full(5, 900.0), expected)[2:].sum() for counts in noisy]
    cut = np.maximum(noisy, 0.0)[:, 2:].sum(axis=1)
    assert np.mean(found) < 0.8 * np.mean(cut)


def test_a_class_keeps_what_stands_out_of_the_noise():
    expected = np.array([6000.0, 3000.0, 400.0, 300.0, 300.0])
    truth = np.array([6150.0, 3000.0, 100.0, 150.0, 600.0])
    found = np.mean(
        [
            near(truth + 30.0 * noise, np.full(5, 900.0), expected)
            for noise in np.random.default_rng(0).standard_normal((50, 5))
        ],
        axis=0,
    )
    assert np.abs(found - truth).max() < 30.0
