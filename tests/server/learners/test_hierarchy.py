"""Counts at several widths give back a histogram: exactly without noise, closely with it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedloom.common.hierarchy import BRANCHING, level_counts, level_sizes
from fedloom.server.learners.hierarchy import _upward, smooth_hierarchy


@given(st.integers(1, 700), st.integers(0, 2**31))
def test_each_level_counts_every_record_once_and_nests(num_cells: int, seed: int) -> None:
    codes = np.random.default_rng(seed).integers(0, num_cells, size=50)
    levels = list(level_counts(codes, num_cells))
    assert tuple(map(len, levels)) == level_sizes(num_cells)
    for depth, counts in enumerate(levels):
        expected = np.bincount(codes // BRANCHING**depth, minlength=len(counts))
        np.testing.assert_array_equal(counts, expected)


@settings(max_examples=50)
@given(st.integers(1, 300), st.integers(0, 2**31))
def test_without_noise_the_histogram_comes_back(num_cells: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, num_cells, size=2_000)
    levels = list(level_counts(codes, num_cells))
    found = smooth_hierarchy(levels, 1e-6, np.ones(num_cells), 2_000.0)
    np.testing.assert_allclose(found, levels[0], atol=0.5)


@pytest.mark.parametrize("num_cells", [16, 64, 100, 257])
def test_the_upward_pass_is_generalised_least_squares(num_cells: int) -> None:
    """The oracle solves all equations of the cells below each coarsest one at once."""
    rng = np.random.default_rng(3)
    sizes = level_sizes(num_cells)
    noisy = [rng.normal(20.0, 7.0, size) for size in sizes]
    rows, seen = [], []
    for depth, size in enumerate(sizes):
        for cell in range(size):
            width = BRANCHING**depth
            row = np.zeros(num_cells)
            row[cell * width : (cell + 1) * width] = 1.0
            rows.append(row)
            seen.append(noisy[depth][cell])
    leaves = np.linalg.lstsq(np.array(rows), np.array(seen), rcond=None)[0]
    width = BRANCHING ** (len(sizes) - 1)
    oracle = [leaves[start : start + width].sum() for start in range(0, num_cells, width)]
    np.testing.assert_allclose(_upward(noisy, 7.0)[-1][0], oracle, rtol=1e-9)


def skewed(kind: str, rng: np.random.Generator) -> tuple[np.ndarray[Any, Any], int]:
    """Cells of 25,000 records on a grid of 4,096."""
    if kind == "long tail":
        values = np.exp(rng.normal(4.0, 1.0, 25_000)) / 5_000
    elif kind == "spikes":
        values = rng.choice([0.0, 0.02, 0.5, 0.9], 25_000, p=[0.6, 0.2, 0.15, 0.05])
    else:
        values = rng.normal(0.5, 0.02, 25_000)
    return np.clip(values * 4_096, 0, 4_095).astype(np.int64), 4_096


def distance(found: Any, codes: Any, size: int) -> float:
    """Total variation over twenty parts that hold as many records each."""
    truth = np.bincount(codes, minlength=size)
    parts = np.unique(np.searchsorted(np.cumsum(truth), np.linspace(0, len(codes), 21)[:-1]))
    theirs, ours = np.add.reduceat(truth, parts), np.add.reduceat(found, parts)
    return float(np.abs(theirs - ours).sum() / 2 / len(codes))


@pytest.mark.parametrize("kind", ["long tail", "spikes", "narrow"])
def test_skewed_columns_are_found_where_one_fine_level_drowns(kind: str) -> None:
    """Noise of epsilon 1 for six such columns, 8% of the budget; the twin lacks levels."""
    rng = np.random.default_rng(11)
    codes, size = skewed(kind, rng)
    levels = list(level_counts(codes, size))
    std = 13.2 * np.sqrt(len(levels) * 6 + 2)
    noisy = [counts + rng.normal(0.0, std, len(counts)) for counts in levels]
    found = smooth_hierarchy(noisy, std, np.ones(size), float(len(codes)))
    assert (found >= 0).all() and found.sum() == pytest.approx(len(codes))
    alone = 13.2 * np.sqrt(6 + 2)
    twin = levels[0] + rng.normal(0.0, alone, size)
    flat = smooth_hierarchy([twin], alone, np.ones(size), float(len(codes)))
    assert distance(found, codes, size) < 0.03
    assert distance(flat, codes, size) > 1.5 * distance(found, codes, size)
