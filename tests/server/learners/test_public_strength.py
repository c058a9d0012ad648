"""One strength for all, less where answers contradict the public table; a test of known level."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from fedloom.server.learners.public_strength import strengths, tells

PAIRS = list(itertools.combinations(range(8), 2))
CELLS, STD = 12, 10.0


def sums(told: np.ndarray, right: np.ndarray, rng: np.random.Generator, *, std: float = STD):
    """Returns <J, I>, <I, I> and the variance of the first; `right` is each table's strength."""
    measured = right[:, None] * told + std * rng.normal(size=told.shape)
    size = np.square(told).sum(axis=1)
    return (measured * told).sum(axis=1), size, size * std**2


@pytest.fixture
def told() -> np.ndarray:
    return np.random.default_rng(0).normal(0.0, 6.0, size=(len(PAIRS), CELLS))


def test_without_contradiction_all_have_the_regression_coefficient(told):
    agreed, size, spread = sums(told, np.full(len(PAIRS), 0.6), np.random.default_rng(1))
    found = strengths(agreed, size, spread, PAIRS)
    assert found == pytest.approx(np.full(len(PAIRS), agreed.sum() / size.sum()))
    error = np.sqrt(spread.sum()) / size.sum()
    assert abs(found[0] - 0.6) < 4 * error


def test_strengths_lie_between_nothing_and_the_whole(told):
    for right in (-2.0, 3.0):
        parts = sums(told, np.full(len(PAIRS), right), np.random.default_rng(2))
        assert set(strengths(*parts, PAIRS)) == {float(np.clip(right, 0.0, 1.0))}


def test_a_table_the_other_way_round_has_no_strength_and_others_keep_theirs(told):
    right = np.ones(len(PAIRS))
    right[5] = -1.0
    found = strengths(*sums(told, right, np.random.default_rng(3), std=2.0), PAIRS)
    assert found[5] == 0.0
    assert np.delete(found, 5).min() > 0.9


def test_a_column_is_found_by_all_its_tables_where_none_tells_it_by_itself(told):
    right = np.array([-1.0 if 3 in pair else 1.0 for pair in PAIRS])
    agreed, size, spread = sums(told, right, np.random.default_rng(4), std=20.0)
    of = right < 0
    alone = np.array([strengths(*part, [pair])[0] for part, pair in by_table(agreed, size, spread)])
    found = strengths(agreed, size, spread, PAIRS)
    assert (found[of] == 0.0).all()
    assert (found[~of] > 0.3).all()
    assert (alone[of] > 0.0).any()  # a table alone may point the right way by its noise


def by_table(agreed, size, spread):
    for place, pair in enumerate(PAIRS):
        yield (agreed[[place]], size[[place]], spread[[place]]), pair


def alarms(told: np.ndarray, believed: float) -> float:
    """Returns how often a right table is taken for a wrong one; noise is believed to be smaller."""
    rng, found = np.random.default_rng(5), []
    columns = [(place,) for place in range(len(PAIRS))]
    for _ in range(400):
        agreed, size, spread = sums(told, np.full(len(PAIRS), 0.5), rng)
        each = strengths(agreed, size, spread * believed**2, columns)
        found.append(np.mean(each < each.max()))
    return float(np.mean(found))


def test_right_tables_are_taken_for_wrong_ones_at_the_stated_rate_and_a_twin_is_caught(told):
    # One-sided normal tail at three standard errors, 1.35e-3; 11,200 draws.
    assert 0.0006 < alarms(told, 1.0) < 0.0025
    assert alarms(told, 0.5) > 0.02


def test_a_public_table_tells_if_its_direction_stands_out_of_the_noise(told):
    rng = np.random.default_rng(6)
    agreed, _, spread = sums(told, np.ones(len(PAIRS)), rng)
    assert tells(agreed, spread)
    assert not tells(-agreed, spread)
    nothing = [sums(told, np.zeros(len(PAIRS)), rng) for _ in range(300)]
    assert sum(tells(agreed, spread) for agreed, _, spread in nothing) <= 4
