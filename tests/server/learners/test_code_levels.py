"""Counts of codes from noisy counts at the levels of a hierarchy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedloom.server.learners.code_levels import smooth_codes
from fedloom.server.learners.smoothing import flat

Array = np.ndarray[Any, np.dtype[Any]]


def zipf(seed: int, codes: int = 300) -> tuple[Array, list[tuple[int, ...]]]:
    """Counts of 25,000 records, and blocks and chapters of the codes."""
    rng = np.random.default_rng(seed)
    block = np.sort(rng.integers(0, codes // 5, codes))
    chapter = block // 6
    levels = [tuple(np.unique(part, return_inverse=True)[1].tolist()) for part in (block, chapter)]
    weights = np.exp(rng.normal(0, 1, 99))[chapter] / (1 + rng.permutation(codes)) ** 1.1
    return rng.multinomial(25_000, weights / weights.sum()).astype(float), levels


def at_levels(counts: Array, levels: list[tuple[int, ...]]) -> list[Array]:
    return [np.bincount(level, counts) for level in levels]


@settings(max_examples=20)
@given(st.integers(0, 2**31))
def test_without_noise_the_counts_come_back(seed: int) -> None:
    counts, levels = zipf(seed, 60)
    looked = at_levels(counts, levels)
    found = smooth_codes(counts, np.full(60, 1e-9), levels, looked, 1e-5, counts.sum())
    np.testing.assert_allclose(found, counts, atol=1.0)


@pytest.mark.parametrize("std", [5.0, 300.0, 1e5])
def test_counts_are_never_negative_and_have_the_given_sum(std: float) -> None:
    counts, levels = zipf(1)
    rng = np.random.default_rng(2)
    noisy = counts + rng.normal(0, std, 300)
    looked = [part + rng.normal(0, std, len(part)) for part in at_levels(counts, levels)]
    found = smooth_codes(noisy, np.full(300, std**2), levels, looked, std, 25_000.0)
    assert found.min() >= 0 and found.sum() == pytest.approx(25_000)


def test_codes_that_noise_hides_are_alike_within_their_node() -> None:
    """A node of 20 records a code beside one of 180, with noise of 100,000 on each code."""
    levels = [tuple([0] * 50 + [1] * 50)]
    rng = np.random.default_rng(3)
    found = smooth_codes(
        rng.normal(0, 1e5, 100) + 100,
        np.full(100, 1e10),
        levels,
        [np.array([1000.0, 9000.0])],
        10.0,
        10_000.0,
    )
    for part, expected in ((found[:50], 20), (found[50:], 180)):
        assert part.sum() == pytest.approx(50 * expected, rel=0.05)
        np.testing.assert_allclose(part, expected, rtol=0.2)


def chapter_errors(levels_of: str) -> tuple[float, float]:
    """Mean total variation of chapters, plain and under a hierarchy, over ten tables."""
    plain, under = [], []
    for seed in range(10):
        counts, levels = zipf(seed)
        rng = np.random.default_rng(seed)
        if levels_of == "shuffled":  # the twin: nodes are told of other codes than were counted
            mixed = rng.permutation(300)
            told = [tuple(np.asarray(level)[mixed].tolist()) for level in levels]
        else:
            told = levels
        noisy = counts + rng.normal(0, 50, 300)
        looked = [part + rng.normal(0, 50, len(part)) for part in at_levels(counts, levels)]
        variances = np.full(300, 2500.0)
        truth = np.bincount(levels[1], counts)
        for errors, found in (
            (plain, flat(noisy, variances, 25_000.0)),
            (under, smooth_codes(noisy, variances, told, looked, 50.0, 25_000.0)),
        ):
            errors.append(np.abs(np.bincount(levels[1], found) - truth).sum() / 50_000)
    return float(np.mean(plain)), float(np.mean(under))


def test_chapters_come_out_far_closer_than_from_codes_alone() -> None:
    plain, under = chapter_errors("right")
    assert under < plain / 3


def test_a_hierarchy_of_other_codes_is_caught() -> None:
    plain, under = chapter_errors("shuffled")
    assert not under < plain / 3
