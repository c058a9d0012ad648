"""A fine axis is cut so that wide cells tell its shape and spikes stand alone."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fedloom.common.column_marginals import ColumnMarginals
from fedloom.common.encoding import Encoding
from fedloom.common.hierarchy import level_counts
from fedloom.common.marginals import NoisyMarginals
from fedloom.common.schema import Column, Schema
from fedloom.privacy.inference.axis import adaptive_cells, wider_cells
from fedloom.privacy.inference.counted import CountedTables
from fedloom.privacy.inference.formula import parse_factor
from fedloom.privacy.inference.levels import single_term
from fedloom.privacy.inference.margins import smooth_shares
from fedloom.privacy.inference.sums import Rows, Sums
from tests.inferred import codes_of

CELLS, STD = 4096, 50.0
WIDTHS = np.ones(CELLS)


def levels_of(codes: np.ndarray, std: float, rng: np.random.Generator) -> list[np.ndarray]:
    return [c + std * rng.normal(size=len(c)) for c in level_counts(codes, CELLS)]


def normal_codes(rows: int, rng: np.random.Generator) -> np.ndarray:
    return rng.normal(1500, 350, rows).clip(0, CELLS - 1).astype(int)


def test_cells_cover_the_axis_once_and_in_order():
    rng = np.random.default_rng(0)
    codes = np.append(normal_codes(20_000, rng), np.full(5000, 7))
    places, counts = adaptive_cells(levels_of(codes, 0.0, rng), WIDTHS, STD**2)
    assert (np.diff(places) >= 0).all() and set(places) == set(range(len(counts)))
    assert counts == pytest.approx(np.bincount(places[codes], minlength=len(counts)))


def test_an_even_spread_is_left_in_wide_cells_and_a_spike_stands_alone():
    rng = np.random.default_rng(1)
    even = rng.integers(0, CELLS, 30_000)
    places, counts = adaptive_cells(levels_of(even, STD, rng), WIDTHS, STD**2)
    assert len(counts) == 64
    spiked = np.append(even, np.full(4000, 777))
    places, counts = adaptive_cells(levels_of(spiked, STD, rng), WIDTHS, STD**2)
    assert (places == places[777]).sum() == 1
    assert counts[places[777]] == pytest.approx(4000, abs=5 * STD)
    assert len(counts) < 100


def test_the_noise_of_wide_cells_is_a_fraction_of_that_of_the_finest():
    rng = np.random.default_rng(2)
    codes = normal_codes(20_000, rng)
    middles = np.arange(CELLS) + 0.5
    cut, finest = [], []
    for _ in range(20):
        levels = levels_of(codes, STD, rng)
        places, counts = adaptive_cells(levels, WIDTHS, STD**2)
        whole = np.bincount(places)
        shares = smooth_shares(counts, whole, STD**2)
        cut.append(shares @ (np.bincount(places, middles) / whole))
        finest.append(np.maximum(levels[0], 0) @ middles / np.maximum(levels[0], 0).sum())
    assert np.mean(cut) == pytest.approx(codes.mean() + 0.5, abs=3.0)
    assert np.std(cut) < 10.0
    assert abs(np.mean(finest) - codes.mean()) > 100.0, "noise in empty cells would not be seen"


def test_wider_cells_are_those_that_no_cut_reads():
    rng = np.random.default_rng(4)
    codes = normal_codes(5000, rng)
    ((places, counts),) = wider_cells(levels_of(codes, 0.0, rng), CELLS)
    assert len(counts) == 16 and (np.bincount(places) == CELLS // 16).all()
    assert counts == pytest.approx(np.bincount(places[codes], minlength=16))


def test_means_and_variances_of_a_fine_column_come_out_with_their_stated_errors():
    schema = Schema((Column("weight", "real", minimum=0.0, maximum=400.0, nullable=True),))
    encoding = Encoding(schema, None, default_bins=CELLS)
    rng = np.random.default_rng(3)
    found = []
    for _ in range(15):
        values = rng.normal(80, 15, 20_000).clip(0, 400)
        frame = pd.DataFrame({"weight": np.where(rng.random(20_000) < 0.1, np.nan, values)})
        codes = encoding.encode(frame).codes
        measured = ColumnMarginals(encoding)
        exact = measured.sum(encoding.feature_codes(codes), encoding.classes(codes))
        look = exact + STD * rng.normal(size=len(exact))
        statistics = NoisyMarginals(encoding=encoding, look=look, look_std=STD, by_class=False)
        rows = Rows(codes=codes_of(frame, encoding))
        sums = Sums(CountedTables(statistics), rows)
        term = single_term(sums.tables, parse_factor("weight"))
        known = frame["weight"].dropna()
        for one, true in (
            (sums.of(term, 80.0), (known - 80.0).sum()),
            (sums.product(term, term, 80.0, 80.0), ((known - 80.0) ** 2).sum()),
        ):
            stated = float(sums.covariances([one])[0][0, 0]) ** 0.5
            found.append((one.value - float(true)) / stated)
    errors = np.array(found)
    assert 0.5 < np.sqrt(np.mean(errors**2)) < 1.7
