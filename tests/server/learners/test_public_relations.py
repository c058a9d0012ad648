"""Noisy tables move towards a public table as far as it predicts them: closed forms and a twin."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from fedloom.common.models.cell_tables import CellTables
from fedloom.server.learners import public_relations
from fedloom.server.learners.public_relations import moved_towards, scaled_to

SIZES = (4, 3, 5)
TABLES = CellTables(SIZES, tuple(itertools.combinations(range(3), 2)))
WIDE = CellTables((4, 3, 5, 4, 3, 4), tuple(itertools.combinations(range(6), 2)))


def linked(
    rows: int,
    rng: np.random.Generator,
    *,
    link: float = 0.6,
    sizes: tuple[int, ...] = SIZES,
) -> np.ndarray:
    """Returns codes (columns, rows) of columns that follow one hidden number."""
    hidden = rng.random(rows)
    return np.array(
        [
            np.where(
                rng.random(rows) < link, (hidden * size).astype(int), rng.integers(0, size, rows)
            )
            for size in sizes
        ]
    )


def counted(codes: np.ndarray, tables: CellTables = TABLES) -> np.ndarray:
    spans = enumerate(tables.spans)
    cells = [np.bincount(tables.cells(t, codes), minlength=s.stop - s.start) for t, s in spans]
    return np.concatenate(cells).astype(float)


def margins(codes: np.ndarray, sizes: tuple[int, ...] = SIZES) -> list[np.ndarray]:
    parts = zip(codes, sizes, strict=True)
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
    assert moved is not None and 0.6 < moved.strengths.mean() <= 1.0
    assert moved.std.max() < 0.4 * std
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


def turned(codes: np.ndarray, column: int) -> np.ndarray:
    """Returns records in which a column is as it was by itself, and goes the other way round."""
    result, values = codes.copy(), np.sort(codes[column])
    result[column][np.argsort(codes[column], kind="stable")] = values[::-1]
    return result


def test_a_column_that_contradicts_the_answers_keeps_its_tables_and_a_trusting_twin_moves_them(
    monkeypatch,
):
    rng = np.random.default_rng(8)
    ours, theirs = (linked(rows, rng, sizes=WIDE.sizes) for rows in (4000, 5000))
    truth = counted(ours, WIDE)
    noisy = truth + 30.0 * rng.normal(size=WIDE.length)
    public = counted(turned(theirs, 2), WIDE)
    given = (WIDE, noisy[None], 30.0, public[None], [margins(ours, WIDE.sizes)])
    wrong = np.array([2 in pair for pair in WIDE.columns])
    cells = np.repeat(wrong, [span.stop - span.start for span in WIDE.spans])
    moved = moved_towards(*given)
    assert moved is not None
    assert (moved.strengths[wrong] == 0.0).all() and (moved.strengths[~wrong] > 0.7).all()
    assert (moved.counts[0][cells] == noisy[cells]).all()
    assert (moved.std[0][wrong] == 30.0).all() and (moved.std[0][~wrong] < 20.0).all()
    assert error(moved.counts[0][~cells], truth[~cells]) < 0.8 * error(noisy[~cells], truth[~cells])
    monkeypatch.setattr(public_relations, "strengths", lambda agreed, *_: np.ones(len(agreed)))
    monkeypatch.setattr(public_relations, "_variances", lambda _, misfit, *__: 1.0 + 0.0 * misfit)
    trusting = moved_towards(*given)
    assert trusting is not None
    assert error(trusting.counts[0][cells], truth[cells]) > 1.2 * error(noisy[cells], truth[cells])


def test_no_table_is_stronger_than_its_columns_may_be():
    rng = np.random.default_rng(9)
    ours, theirs = linked(2000, rng), linked(5000, rng)
    noisy = counted(ours) + 20.0 * rng.normal(size=TABLES.length)
    moved = moved_towards(
        TABLES,
        noisy[None],
        20.0,
        counted(theirs)[None],
        [margins(ours)],
        most=np.array([1.0, 0.25, 0.0]),
    )
    assert moved is not None
    assert moved.strengths.tolist() == [0.25, 0.0, 0.0]
