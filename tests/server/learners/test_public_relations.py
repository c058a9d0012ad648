"""Noisy tables move towards a public table as far as it predicts them: closed forms and a twin."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from fedloom.common.models.cell_tables import CellTables
from fedloom.server.learners.public_relations import moved_towards, scaled_to

SIZES = (4, 3, 5)
TABLES = CellTables(SIZES, tuple(itertools.combinations(range(3), 2)))


def linked(rows: int, rng: np.random.Generator, *, link: float = 0.6) -> np.ndarray:
    """Returns codes (3, rows) of columns that follow one hidden number."""
    hidden = rng.random(rows)
    return np.array(
        [
            np.where(
                rng.random(rows) < link, (hidden * size).astype(int), rng.integers(0, size, rows)
            )
            for size in SIZES
        ]
    )


def counted(codes: np.ndarray) -> np.ndarray:
    spans = enumerate(TABLES.spans)
    cells = [np.bincount(TABLES.cells(t, codes), minlength=s.stop - s.start) for t, s in spans]
    return np.concatenate(cells).astype(float)


def margins(codes: np.ndarray) -> list[np.ndarray]:
    parts = zip(codes, SIZES, strict=True)
    return [np.bincount(column, minlength=size).astype(float) for column, size in parts]


def error(found: np.ndarray, truth: np.ndarray) -> float:
    return float(np.sqrt(np.mean((found - truth) ** 2)))


def test_a_scaled_table_has_the_margins_and_the_odds_ratios_of_the_public_one():
    public = np.array([[4000.0, 1000.0], [1000.0, 3000.0]])
    scaled = scaled_to(public, [np.array([70.0, 30.0]), np.array([20.0, 80.0])])
    assert scaled.sum(axis=1) == pytest.approx([70, 30])
    assert scaled.sum(axis=0) == pytest.approx([20, 80])
    ratio = scaled[0, 0] * scaled[1, 1] / (scaled[0, 1] * scaled[1, 0])
    assert ratio == pytest.approx(12.0, rel=0.03)  # but for pseudo-counts


def test_a_table_of_independent_columns_scales_to_independent_columns():
    public = np.outer([600.0, 400.0], [0.1, 0.2, 0.7])
    known = [np.array([30.0, 70.0]), np.array([50.0, 25.0, 25.0])]
    assert np.allclose(scaled_to(public, known), np.outer(*known) / 100.0, rtol=0.02)


def test_cells_that_the_public_table_lacks_are_not_impossible():
    scaled = scaled_to(np.diag([50.0, 50.0]), [np.array([5.0, 5.0]), np.array([5.0, 5.0])])
    assert (scaled > 0).all() and scaled[0, 0] > 4.0


def test_a_public_table_of_the_population_takes_most_of_the_noise_away():
    rng = np.random.default_rng(1)
    ours, theirs = linked(1000, rng), linked(5000, rng)
    truth, std = counted(ours), 40.0
    noisy = truth + std * rng.normal(size=TABLES.length)
    moved = moved_towards(TABLES, noisy[None], std, counted(theirs)[None], [margins(ours)])
    assert moved is not None and 0.6 < moved.strength <= 1.0
    assert moved.std < 0.4 * std
    assert error(moved.counts[0], truth) < 0.7 * error(noisy, truth)


def test_totals_and_single_columns_stay_as_they_were_measured():
    rng = np.random.default_rng(2)
    ours = linked(1000, rng)
    noisy = counted(ours) + 30.0 * rng.normal(size=TABLES.length)
    moved = moved_towards(
        TABLES, noisy[None], 30.0, counted(linked(4000, rng))[None], [margins(ours)]
    )
    assert moved is not None
    pairs = zip(TABLES.split(noisy), TABLES.split(moved.counts[0]), strict=True)
    for (_, before), (_, after) in pairs:
        assert after.sum(axis=0) == pytest.approx(before.sum(axis=0))
        assert after.sum(axis=1) == pytest.approx(before.sum(axis=1))
        assert not np.allclose(before, after)


def test_without_a_relation_in_common_the_noisy_tables_stay_to_the_last_bit():
    rng = np.random.default_rng(3)
    ours, theirs = linked(1000, rng), linked(5000, rng)
    theirs = np.array([rng.permutation(column) for column in theirs])
    noisy = counted(ours) + 40.0 * rng.normal(size=TABLES.length)
    assert moved_towards(TABLES, noisy[None], 40.0, counted(theirs)[None], [margins(ours)]) is None


def test_relations_the_other_way_round_are_left_out():
    rng = np.random.default_rng(4)
    ours, theirs = linked(1000, rng), linked(5000, rng)
    theirs[0] = SIZES[0] - 1 - theirs[0]
    theirs[2] = (theirs[2] + 3) % SIZES[2]
    noisy = counted(ours) + 10.0 * rng.normal(size=TABLES.length)
    moved = moved_towards(TABLES, noisy[None], 10.0, counted(theirs)[None], [margins(ours)])
    assert moved is None or error(moved.counts[0], counted(ours)) < 1.05 * error(
        noisy, counted(ours)
    )


def losses(theirs_link: float, *, trusting: bool = False) -> tuple[float, float]:
    """Returns mean errors after and before the move; a twin trusts the public table blindly."""
    rng, after, before = np.random.default_rng(5), [], []
    for _ in range(25):
        ours, theirs = linked(20_000, rng, link=0.7), linked(5000, rng, link=theirs_link)
        truth = counted(ours)
        noisy = truth + 15.0 * rng.normal(size=TABLES.length)
        moved = moved_towards(TABLES, noisy[None], 15.0, counted(theirs)[None], [margins(ours)])
        found = noisy if moved is None else moved.counts[0]
        if trusting:
            parts = zip(TABLES.columns, TABLES.split(counted(theirs)), strict=True)
            found = np.concatenate(
                [scaled_to(t, [margins(ours)[c] for c in cs]).reshape(-1) for cs, (_, t) in parts]
            )
        after.append(error(found, truth))
        before.append(error(noisy, truth))
    return float(np.mean(after)), float(np.mean(before))


def test_a_public_table_of_weaker_relations_does_not_hurt_and_a_trusting_twin_does():
    after, before = losses(0.3)
    assert after < 1.03 * before
    trusting, _ = losses(0.3, trusting=True)
    assert trusting > 3 * before
