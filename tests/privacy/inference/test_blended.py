"""Several tables of a column or a pair are read together: unbiased, of the noise that is stated."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fedloom.common.column_marginals import ColumnMarginals
from fedloom.common.encoding import Encoding
from fedloom.common.marginals import NoisyMarginals
from fedloom.common.schema import Column, Schema
from fedloom.privacy.inference.blended import BlendedCounts
from fedloom.privacy.inference.counted import CountedTables
from fedloom.privacy.inference.counted_table import CountedTable
from fedloom.privacy.inference.formula import parse_factor
from fedloom.privacy.inference.levels import single_term
from fedloom.privacy.inference.pairs import PairCounts
from fedloom.privacy.inference.sums import Rows, Sums
from tests.inferred import codes_of

FINE, WIDE = 4.0, 1.0
"""Variances of fine and of wide counts."""


def blended(exact: np.ndarray, noise: tuple[np.ndarray, np.ndarray]) -> BlendedCounts:
    """Four cells, and the two halves of them."""
    places = {3: np.arange(4), 8: np.array([0, 0, 1, 1])}
    halves = exact.reshape(2, 2).sum(axis=1)
    counts = {
        3: (exact + noise[0], np.full(4, FINE)),
        8: (halves + noise[1], np.full(2, WIDE)),
    }
    return BlendedCounts(places, counts, np.ones(4))


def test_a_half_is_the_mean_of_both_tables_by_their_precisions():
    """A half has variance 1 by its own count and 4 + 4 by its cells: weights 8/9 and 1/9."""
    found = blended(np.zeros(4), (np.array([9.0, 0.0, 0.0, 0.0]), np.array([0.0, 0.0])))
    _, value, moved = found.estimate(np.array([0.5, 0.5, -0.5, -0.5]))
    assert value == pytest.approx(0.5 * 9.0 / 9.0, rel=1e-6)
    assert moved[8] == pytest.approx([0.5 * 8 / 9, -0.5 * 8 / 9], rel=1e-6)
    assert moved[3] == pytest.approx([0.5 / 9, 0.5 / 9, -0.5 / 9, -0.5 / 9], rel=1e-6)


def test_what_no_half_tells_is_read_from_the_cells_alone():
    found = blended(np.array([7.0, 3.0, 0.0, 0.0]), (np.zeros(4), np.array([50.0, -20.0])))
    _, value, moved = found.estimate(np.array([1.0, -1.0, 0.0, 0.0]))
    assert value == pytest.approx(4.0)
    assert moved[8] == pytest.approx([0.0, 0.0], abs=1e-6)


def test_a_number_for_all_cells_is_left_to_the_number_of_records():
    found = blended(np.arange(4.0), (np.zeros(4), np.zeros(2)))
    middle, value, moved = found.estimate(np.full(4, 2.5))
    assert middle == pytest.approx(2.5) and value == pytest.approx(0.0)
    assert moved[3] == pytest.approx(np.zeros(4), abs=1e-9)


def test_cells_that_no_table_tells_apart_follow_the_shape():
    places = {0: np.array([0, 0, 1])}
    counts = {0: (np.array([30.0, 10.0]), np.array([1.0, 1.0]))}
    found = BlendedCounts(places, counts, np.array([1.0, 2.0, 1.0]))
    middle, value, _ = found.estimate(np.array([3.0, 0.0, 0.0]))
    assert middle * 40.0 + value == pytest.approx(30.0)


@pytest.mark.parametrize("turned", [False, True])
def test_a_coarse_table_sharpens_a_pair_and_leaves_it_unbiased(turned):
    """Six by six groups, and a table of their thirds with a further column, in either order."""
    rng = np.random.default_rng(0)
    exact = rng.integers(50, 400, (6, 6)).astype(float)
    scores = np.arange(6) - 2.5
    weights = np.outer(scores, scores)
    thirds = np.arange(6) // 2
    cells = np.arange(6)
    coarse = np.zeros((3, 3, 2))
    np.add.at(coarse, (thirds[:, None], thirds[None, :], 0), exact)
    alone, both, stated = [], [], 0.0
    for _ in range(300):
        fine = exact + 20.0 * rng.normal(size=exact.shape)
        noisy = coarse + 10.0 * rng.normal(size=coarse.shape)
        tables = {
            0: CountedTable(
                columns=("a", "b"), places=(cells, cells), counts=fine,
                variances=np.full(fine.shape, 400.0),
            ),
            1: CountedTable(
                columns=("b", "a", "c") if turned else ("a", "b", "c"),
                places=(thirds, thirds, np.arange(2)),
                counts=noisy.transpose(1, 0, 2) if turned else noisy,
                variances=np.full(noisy.shape, 100.0),
            ),
        }  # fmt: skip
        found = PairCounts(tables, ("a", "b"), (np.full(6, 1 / 6), np.full(6, 1 / 6)))
        _, value, moved = found.estimate(weights)
        both.append(value)
        alone.append(float((weights * fine).sum()))
        # The third column's axis is summed over, so its counts' noise adds up.
        stated = np.sqrt(400.0 * (moved[0] ** 2).sum() + 200.0 * (moved[1] ** 2).sum())
    true = float((weights * exact).sum())
    assert np.mean(both) == pytest.approx(true, abs=4 * stated / np.sqrt(300))
    assert np.std(both) == pytest.approx(stated, rel=0.2)
    assert np.std(both) < 0.75 * np.std(alone)


def clipped_ages(rng: np.random.Generator) -> np.ndarray:
    """Ages at bounds that some hundred records exceed: two spikes below the noise."""
    return np.clip(np.round(52 + 14 * rng.normal(size=20_000)), 18, 90).astype(int)


def skewed_visits(rng: np.random.Generator) -> np.ndarray:
    """A count whose thin tail lies below the noise."""
    return np.minimum(rng.negative_binomial(0.7, 0.15, 20_000), 60)


@pytest.mark.parametrize(
    "draw, low, high", [(clipped_ages, 18, 90), (skewed_visits, 0, 60)], ids=["clipped", "skewed"]
)
def test_what_lies_below_the_noise_counts_and_a_smooth_shape_would_miss_it(draw, low, high):
    """First and second moments err as stated; the twin reads them from the smooth shape."""
    schema = Schema((Column("x", "integer", minimum=low, maximum=high),))
    encoding, std = Encoding(schema, None), 40.0
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"x": draw(rng)})
    codes = encoding.encode(frame).codes
    measured = ColumnMarginals(encoding)
    exact = measured.sum(encoding.feature_codes(codes), encoding.classes(codes))
    rows = Rows(codes=codes_of(frame, encoding))
    centre = float(frame["x"].mean())
    errors, twins = [], []
    for _ in range(60):
        look = exact + std * rng.normal(size=len(exact))
        statistics = NoisyMarginals(encoding=encoding, look=look, look_std=std, by_class=False)
        sums = Sums(CountedTables(statistics), rows)
        term = single_term(sums.tables, parse_factor("x"))
        found = sums.product(term, term, centre, centre)
        stated = found.form.noise(sums.tables)
        true = float(((frame["x"] - centre) ** 2).sum())
        errors.append((found.value - true) / stated)
        squares = (term.values - centre) ** 2 * term.observed
        twins.append(float(sums.tables.shares("x") @ squares) * len(frame) - true)
    # A mean of 60 standard errors is known within .13, their size within .09.
    assert abs(np.mean(errors)) < 0.6
    assert 0.65 < np.sqrt(np.mean(np.square(errors))) < 1.4
    bias = abs(np.mean(twins)) / np.std(twins)
    assert bias > 0.6, "the shape alone would do as well, and the test would see nothing"
