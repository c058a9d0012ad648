"""Noise in shares: the theorem's bound against brute force, and the shares against their law."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from fedloom.common.errors import ConfigError
from fedloom.privacy.noise import NoiseSource
from fedloom.privacy.secure_sum.shares import log_gap, noise_share
from fedloom.privacy.secure_sum.sum_grid import MAX_SITES, grid_step_of
from tests.oracles import gaussian_delta

REACH = 60
POINTS = np.arange(-REACH, REACH + 1)


def rounded_gaussian(std: float) -> np.ndarray:
    """Exact probabilities of round(N(0, std^2)) at `POINTS`."""
    law = scipy.stats.norm(scale=std)
    return np.where(
        POINTS > 0,
        law.sf(POINTS - 0.5) - law.sf(POINTS + 0.5),
        law.cdf(POINTS + 0.5) - law.cdf(POINTS - 0.5),
    )


def sum_of_shares(std: float, num_shares: int) -> np.ndarray:
    """Exact probabilities of a sum of `num_shares` rounded Gaussians, by convolution."""
    one = rounded_gaussian(std)
    total = one
    for _ in range(num_shares - 1):
        total = np.convolve(total, one, mode="same")
    return total


def rounded_once(std: float, num_shares: int) -> np.ndarray:
    """Probabilities of the post-processed Gaussian that the theorem compares with.

    rint(G + V_1 + ... + V_(k-1)) with G ~ N(0, k std^2) and uniform V_i on [-1/2, 1/2]: the
    density of G + V_1 + ... + V_k at the integers, from its characteristic function.
    """
    theta = np.linspace(-14.0 / std, 14.0 / std, 40001)
    transform = np.exp(-num_shares * (std * theta) ** 2 / 2)
    transform *= np.sinc(theta / (2 * math.pi)) ** num_shares
    wave = np.cos(np.outer(POINTS, theta))
    return wave @ transform * (theta[1] - theta[0]) / (2 * math.pi)


def total_variation(std: float, num_shares: int) -> float:
    difference = sum_of_shares(std, num_shares) - rounded_once(std, num_shares)
    return float(np.abs(difference).sum() / 2)


SMALL = [(0.4, 2), (0.5, 2), (0.7, 2), (0.5, 3), (0.7, 3), (0.8, 5), (0.9, 9)]


@pytest.mark.parametrize("std, num_shares", SMALL)
def test_the_gap_bounds_the_total_variation(std, num_shares):
    found = total_variation(std, num_shares)
    assert 0.0 < found <= math.exp(log_gap(std, num_shares, 1)) + 1e-12


@pytest.mark.parametrize("std, num_shares", SMALL[:-1])
def test_a_bound_that_forgets_the_number_of_shares_is_caught(std, num_shares):
    """The twin: exp(-2 pi^2 s^2) instead of exp(-2 pi^2 s^2 / k)."""
    wrong = math.exp(log_gap(std * math.sqrt(num_shares), num_shares, 1))
    assert total_variation(std, num_shares) > wrong


def test_a_sum_of_shares_differs_from_one_gaussian_by_nothing_at_a_few_units():
    assert total_variation(2.0, 3) < 1e-12
    assert np.abs(rounded_once(2.0, 1) - rounded_gaussian(2.0)).max() < 1e-12


def hockey_stick(law: np.ndarray, shift: int, epsilon: float) -> float:
    """Divergence between `law` and itself, moved by `shift`."""
    return float(np.maximum(law[shift:] - math.exp(epsilon) * law[:-shift], 0.0).sum())


@pytest.mark.parametrize("std, num_shares", [*SMALL, (2.0, 2), (3.0, 4)])
@pytest.mark.parametrize("lost, caught", [(0, False), (1, True)])
def test_the_sum_of_shares_is_as_private_as_one_gaussian(std, num_shares, lost, caught):
    """Exact divergences, against the Gaussian's closed curve; one share less is caught."""
    law = sum_of_shares(std, num_shares - lost)
    broken = False
    for shift in (1, 2, 5):
        for epsilon in (0.1, 0.5, 1.0, 2.0):
            gap = math.exp(log_gap(std, num_shares, 1)) if std < 1.0 else 0.0
            claimed = gaussian_delta(shift / (std * math.sqrt(num_shares)), epsilon)
            claimed += (1.0 + math.exp(epsilon)) * (0.0 if caught else gap)
            broken |= hockey_stick(law, shift, epsilon) > claimed + 1e-12
    assert broken is caught


def test_on_every_grid_the_gap_is_below_ten_to_the_minus_thousand():
    limit = -1000.0 * math.log(10.0)
    for num_sites in range(1, MAX_SITES + 1):
        for integer_valued, std in ((True, 0.3), (True, 1e6), (False, 1.0)):
            grid_step = grid_step_of(
                std, num_sites, l2_norm=1.0, length=10**9, integer_valued=integer_valued
            )
            # The most shares have the least noise each; all of a roster's may be unknown.
            share_std = std / grid_step / math.sqrt(num_sites)
            for num_shares in {1, 2, num_sites}:
                assert log_gap(share_std, num_shares, 10**9) < limit
    worst = [log_gap(1024.0, num_shares, 10**9) for num_shares in range(1, MAX_SITES + 1)]
    assert worst == sorted(worst) and worst[-1] < limit


@pytest.mark.parametrize("std, num_shares, length", [(0.0, 2, 1), (1.0, 0, 1), (1.0, 2, 0)])
def test_a_gap_of_nothing_is_refused(std, num_shares, length):
    with pytest.raises(ConfigError):
        log_gap(std, num_shares, length)


def floor_share(size: int, std: float, num_shares: int, grid_step: float, noise: NoiseSource):
    return np.floor(noise.normal(size, std / grid_step / math.sqrt(num_shares))).astype(np.int64)


def half_share(size: int, std: float, num_shares: int, grid_step: float, noise: NoiseSource):
    return noise_share(size, std / 2, num_shares, grid_step, noise)


@pytest.mark.parametrize(
    "draw, accepted", [(noise_share, True), (half_share, False), (floor_share, False)]
)
def test_a_share_is_a_rounded_gaussian(draw, accepted):
    """Chi-square over 13 cells at 10^-4: false alarm once in 10^4 seeds; this seed is fixed."""
    share = draw(200_001, 6.0, 9, 1.0, NoiseSource.from_insecure_seed(3))
    expected = rounded_gaussian(2.0)[REACH - 6 : REACH + 7] * share.size
    found = np.array([(share == point).sum() for point in range(-6, 7)])
    rest = share.size - expected.sum()
    statistic = ((found - expected) ** 2 / expected).sum()
    statistic += (share.size - found.sum() - rest) ** 2 / rest
    assert bool(scipy.stats.chi2.sf(statistic, 13) > 1e-4) is accepted


def test_shares_do_not_repeat():
    source = NoiseSource()
    first, second = (noise_share(30_000, 1e5, 3, 1.0, source) for _ in range(2))
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.05
    assert not (first[:12288] == first[12288 : 2 * 12288]).any() or len(set(first[:99])) > 90


@pytest.mark.parametrize("std, num_shares", [(-1.0, 1), (math.nan, 1), (2.0**60, 1), (1.0, 0)])
def test_noise_out_of_range_is_refused(std, num_shares):
    with pytest.raises(ConfigError):
        noise_share(1, std, num_shares, 1.0, NoiseSource())
