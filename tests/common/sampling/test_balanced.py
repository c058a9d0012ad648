"""Balanced choices: each row about as often as asked, and tables closer than chance would be."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from fedloom.common.models.cell_tables import CellTables
from fedloom.common.sampling import balanced
from fedloom.common.sampling.balanced import balanced_choice

TABLES = CellTables((4, 3, 5, 2), tuple(itertools.combinations(range(4), 2)))


def pool(rows: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    codes = np.stack([rng.integers(0, size, rows) for size in TABLES.sizes])
    return codes, rng.gamma(1.0, size=rows) / 4


def surplus(codes: np.ndarray, taken: np.ndarray, times: np.ndarray) -> float:
    """Root mean square of the surplus of a cell, in units of what independent choices leave."""
    squares = []
    for table, span in enumerate(TABLES.spans):
        cells, size = TABLES.cells(table, codes), span.stop - span.start
        part = times - np.floor(times)
        noise = np.bincount(cells, part * (1 - part), minlength=size)
        squares.append(np.bincount(cells, taken - times, minlength=size) ** 2 / noise)
    return float(np.sqrt(np.concatenate(squares).mean()))


def test_every_row_is_taken_as_often_as_asked_rounded_up_or_down():
    codes, times = pool()
    taken = balanced_choice(times, [(TABLES, codes)], np.random.default_rng(2))
    assert (np.abs(taken - times) < 1).all()
    assert abs(taken.sum() - times.sum()) < 30


def test_cells_are_far_closer_than_independent_choices_make_them(monkeypatch):
    codes, times = pool()
    taken = balanced_choice(times, [(TABLES, codes)], np.random.default_rng(2))
    assert surplus(codes, taken, times) < 0.3
    monkeypatch.setattr(balanced, "_PULL", 0.0)  # the twin that does not look at surpluses
    blind = balanced_choice(times, [(TABLES, codes)], np.random.default_rng(2))
    assert surplus(codes, blind, times) == pytest.approx(1.0, abs=0.35)


def test_whether_a_row_is_taken_does_not_follow_its_place():
    """Mean over 200 choices of the first and of the last hundred rows, 5 standard errors."""
    codes, _ = pool(2000)
    times = np.full(2000, 0.3)
    taken = np.mean(
        [
            balanced_choice(times, [(TABLES, codes)], np.random.default_rng(seed))
            for seed in range(200)
        ],
        axis=0,
    )
    for part in (taken[:100], taken[-100:]):
        assert abs(part.mean() - 0.3) < 5 * np.sqrt(0.3 * 0.7 / (200 * 100))


def test_whole_times_leave_nothing_to_choose():
    codes, _ = pool(100)
    times = np.arange(100) % 3
    taken = balanced_choice(times.astype(float), [(TABLES, codes)], np.random.default_rng(1))
    np.testing.assert_array_equal(taken, times)
