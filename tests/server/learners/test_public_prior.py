"""Columns and a public table: a good one helps, a bad one is left out; a trusting twin."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fedloom.common.column_marginals import ColumnMarginals
from fedloom.common.encoding import Encoding
from fedloom.common.marginals import NoisyMarginals, TwoWayMarginals
from fedloom.common.public_counts import PublicRecords
from fedloom.common.schema import Column, Schema
from fedloom.server.learners import public_columns
from fedloom.server.learners.class_marginals import log_marginals
from fedloom.server.learners.public_prior import counted_like, informed
from fedloom.server.learners.smoothing import flat, near, risk, risk_towards, towards
from fedloom.server.tree_design import choose_groups
from tests.inferred import SCHEMA, drawn

ENCODING = Encoding(SCHEMA, "sick")
STD = 40.0
CODES = tuple(f"{chapter}{code}" for chapter in "abcdef" for code in "0123456789")


def records(frame: pd.DataFrame) -> PublicRecords:
    codes = ENCODING.encode(frame).codes
    return PublicRecords(features=ENCODING.feature_codes(codes), classes=ENCODING.classes(codes))


def statistics(frame: pd.DataFrame, rng: Any, *, std: float = STD) -> NoisyMarginals:
    """Returns noisy columns, and pairs on some five groups a column."""
    exact = records(frame).counted(ENCODING)
    look = exact.columns + std * rng.normal(size=len(exact.columns))
    known = NoisyMarginals(encoding=ENCODING, look=look, look_std=std, by_class=False)
    groups = choose_groups(known, pair_std=std, most_cells=100_000)
    pairs = TwoWayMarginals(ENCODING, groups)
    counts = records(frame).counted(ENCODING, groups=groups).pairs
    assert counts is not None
    noisy = counts + std * rng.normal(size=pairs.length)
    return dataclasses.replace(known, groups=groups, pairs=noisy, pair_std=std)


def distance(known: NoisyMarginals, truth: pd.DataFrame) -> float:
    """Returns the mean total variation of columns within classes."""
    found = np.exp(log_marginals(known))
    true = records(truth)
    total = []
    for place, block in enumerate(ENCODING.features):
        span = slice(block.start, block.start + block.size)
        for label in range(2):
            mine = true.features[true.classes == label, place]
            shares = np.bincount(mine, minlength=block.size) / len(mine)
            total.append(np.abs(found[label, span] - shares).sum() / 2)
    return float(np.mean(total))


@pytest.fixture(scope="module")
def population() -> pd.DataFrame:
    return drawn(40_000, np.random.default_rng(0))


def moved(rows: int, rng: Any) -> pd.DataFrame:
    """Returns records of another population: older, all of one group, scores upside down."""
    frame = drawn(rows, rng)
    frame["age"] = np.minimum(frame["age"] + 20, 79)
    frame["score"] = 120 - frame["score"]
    return frame.assign(group="c", sick=np.where(frame["sick"] == "yes", "no", "yes"))


def test_a_table_of_the_same_population_brings_columns_nearer(population):
    rng = np.random.default_rng(1)
    known = statistics(drawn(800, rng), rng)
    told = informed(known, counted_like(records(drawn(5000, rng)), known))
    assert distance(told, population) < 0.75 * distance(known, population)
    assert set(told.prior.misfit) == {block.name for block in ENCODING.features}
    assert np.median(told.prior.pair_std[:2]) < 0.5 * known.pair_std


def trusted(known: NoisyMarginals, public: Any, monkeypatch: pytest.MonkeyPatch) -> NoisyMarginals:
    """Returns what a twin makes of a public table that takes it at its word."""
    with monkeypatch.context() as patch:
        patch.setattr(public_columns, "tells", lambda *_: True)
        patch.setattr(public_columns, "strengths", lambda agreed, *_: np.ones(len(agreed)))
        prior = informed(known, public).prior
    assert prior is not None
    blind = {block.name: 1e-3 for block in ENCODING.features}
    return dataclasses.replace(
        known, prior=dataclasses.replace(prior, misfit=blind, misfit_within=blind)
    )


def test_a_table_of_another_population_does_not_hurt_and_a_trusting_twin_does(
    population, monkeypatch
):
    rng = np.random.default_rng(2)
    alone, beside, trusting = [], [], []
    for _ in range(6):
        known = statistics(drawn(3000, rng), rng, std=25.0)
        public = counted_like(records(moved(5000, rng)), known)
        told = informed(known, public)
        alone.append(distance(known, population))
        beside.append(distance(told, population))
        trusting.append(distance(trusted(known, public, monkeypatch), population))
    assert np.mean(beside) < 1.05 * np.mean(alone)
    assert np.mean(trusting) > 1.5 * np.mean(alone)


def test_a_table_whose_classes_are_exchanged_tells_single_columns_alone():
    rng = np.random.default_rng(3)
    public = drawn(5000, rng)
    public["sick"] = np.where(public["sick"] == "yes", "no", "yes")
    known = statistics(drawn(3000, rng), rng)
    told = informed(known, counted_like(records(public), known))
    assert told.prior.misfit_within == {}
    # Single columns are right and help; nothing that the label has a part in moves.
    assert told.prior.misfit
    assert told.prior.pair_std is None
    assert (told.pairs == known.pairs).all()


def test_without_a_public_table_nothing_changes():
    rng = np.random.default_rng(4)
    known = statistics(drawn(500, rng), rng)
    assert informed(known, None) is known


@pytest.mark.parametrize("misfit, shown", [(1e-9, 0.0), (1e12, 1.0)])
def test_counts_go_from_what_is_expected_to_what_was_measured(misfit, shown):
    expected, noisy = np.array([50.0, 30.0, 20.0]), np.array([40.0, 45.0, 15.0])
    found = towards(noisy, np.full(3, 100.0), expected, misfit)
    assert found == pytest.approx(expected + shown * (noisy - expected), abs=1e-3)


def test_half_way_counts_are_posterior_means():
    expected, noisy = np.array([50.0, 50.0]), np.array([70.0, 30.0])
    # misfit * expected = 100 = the noise's variance: half of the way.
    assert towards(noisy, np.full(2, 100.0), expected, 2.0) == pytest.approx([60.0, 40.0])


def test_the_estimated_risk_is_that_of_draws():
    rng = np.random.default_rng(6)
    truth, expected = np.array([500.0, 300.0, 150.0, 50.0]), np.array([480.0, 330.0, 140.0, 50.0])
    variances = np.full(4, 900.0)
    told, seen = [], []
    for _ in range(3000):
        noisy = truth + 30.0 * rng.normal(size=4)
        told.append(risk_towards(noisy, variances, expected, 1.5))
        kept = 1.5 * expected / (1.5 * expected + variances)
        seen.append(float(((expected + kept * (noisy - expected) - truth) ** 2).sum()))
    assert np.mean(told) == pytest.approx(np.mean(seen), rel=0.05)


def test_the_risk_of_other_shrinkage_is_told_up_to_its_fitted_prior():
    rng = np.random.default_rng(7)
    truth = np.concatenate([[600.0, 400.0], np.zeros(60)])
    variances, expected = np.full(62, 400.0), np.concatenate([[500.0, 500.0], np.full(60, 0.1)])
    told, seen = [], []
    for _ in range(60):
        noisy = truth + 20.0 * rng.normal(size=62)
        told.append((risk(noisy, variances, 1000.0), risk(noisy, variances, 1000.0, expected)))
        found = flat(noisy, variances, 1000.0), near(noisy, variances, expected)
        seen.append([float(((one - truth) ** 2).sum()) for one in found])
    raw = 62 * 400.0
    assert np.abs(np.mean(told, axis=0) - np.mean(seen, axis=0)).max() < 0.15 * raw


def test_counts_have_the_layout_of_the_statistics():
    rng = np.random.default_rng(8)
    frame = drawn(700, rng)
    known = statistics(frame, rng)
    exact = counted_like(records(frame), known)
    assert exact.columns.shape == known.look.shape and exact.pairs.shape == known.pairs.shape
    assert int(ColumnMarginals(ENCODING).rows(exact.columns)[0].sum()) == 700


def test_codes_of_a_hierarchy_come_nearer_too():
    parents = {code: code[0] for code in CODES}
    column = Column("code", "category", values=CODES, hierarchy=tuple(parents.items()))
    encoding = Encoding(Schema((column, Column("t", "category", values=("0", "1")))), "t")
    rng = np.random.default_rng(9)
    shares = rng.dirichlet(np.full(len(CODES), 0.2))
    ours, theirs = (rng.choice(len(CODES), size=(rows, 1), p=shares) for rows in (1000, 5000))
    counts = ColumnMarginals(encoding).sum(ours, ours[:, 0] % 2)
    look = counts + 15.0 * rng.normal(size=len(counts))
    known = NoisyMarginals(encoding=encoding, look=look, look_std=15.0, by_class=False)
    public = PublicRecords(features=theirs, classes=theirs[:, 0] % 2)
    told = informed(known, counted_like(public, known))
    alone, beside = (np.exp(log_marginals(one)[0, : len(CODES)]) for one in (known, told))
    assert told.prior.misfit == {"code": pytest.approx(1.2, rel=0.1)}
    assert np.abs(beside - shares).sum() < 0.5 * np.abs(alone - shares).sum()


def test_a_table_without_a_label_tells_relations():
    rng = np.random.default_rng(10)
    encoding = Encoding(SCHEMA, None)

    def rows(frame: pd.DataFrame) -> PublicRecords:
        codes = encoding.encode(frame).codes
        features = encoding.feature_codes(codes)
        return PublicRecords(features=features, classes=np.zeros(len(frame), dtype=np.int64))

    ours, theirs = rows(drawn(1500, rng)), rows(drawn(5000, rng))
    look = ours.counted(encoding).columns + 20.0 * rng.normal(size=ColumnMarginals(encoding).length)
    known = NoisyMarginals(encoding=encoding, look=look, look_std=20.0, by_class=False)
    groups = choose_groups(known, pair_std=20.0, most_cells=100_000)
    exact = ours.counted(encoding, groups=groups).pairs
    noisy = exact + 20.0 * rng.normal(size=len(exact))
    known = dataclasses.replace(known, groups=groups, pairs=noisy, pair_std=20.0)
    told = informed(known, counted_like(theirs, known))
    assert told.prior.pair_std is not None
    assert np.square(told.pairs - exact).mean() < 0.8 * np.square(noisy - exact).mean()
