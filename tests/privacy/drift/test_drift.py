"""How far two studies' columns are apart: closed forms, level, a twin that knows half the noise."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest

from fedloom.common.column_marginals import ColumnMarginals
from fedloom.common.encoding import Encoding
from fedloom.common.marginals import NoisyMarginals
from fedloom.common.schema import Column, Schema
from fedloom.privacy.drift.compare import distance_between, share_covariance
from fedloom.privacy.drift.groups import Grouped, grouped
from fedloom.privacy.drift.looked import looked_columns
from fedloom.privacy.drift.result import LEVEL, drift_between
from tests.inferred import SCHEMA, counted, drawn


def exactly(*counts: float, std: float = 0.0) -> Grouped:
    return Grouped(
        counts=np.array(counts, dtype=np.float64), variances=np.full(len(counts), std**2)
    )


def columns(frame: Any, std: float, rng: Any, *, bins: int = 128) -> NoisyMarginals:
    """Returns the first look of a tree: columns over all classes, fine axes at many widths."""
    encoding = Encoding(SCHEMA, "sick", default_bins=bins)
    codes = encoding.encode(frame).codes
    counts = ColumnMarginals(encoding)
    exact = counts.sum(encoding.feature_codes(codes), encoding.classes(codes))
    noisy = exact + std * rng.normal(size=counts.length)
    return NoisyMarginals(encoding=encoding, look=noisy, look_std=std, by_class=False)


def test_without_noise_the_distance_is_the_total_variation():
    found = distance_between(exactly(30, 70), exactly(600, 400))
    assert found.value == pytest.approx(0.3)


def test_two_groups_have_the_test_of_two_proportions():
    found = distance_between(exactly(330, 670), exactly(300, 700))
    pooled = 630 / 2000
    z = 0.03 / np.sqrt(pooled * (1 - pooled) * (1 / 1000 + 1 / 1000))
    from scipy.stats import norm

    assert found.p_value == pytest.approx(2 * norm.sf(z))
    # |d| is one folded normal: mean and deviation in closed form.
    deviation = 0.03 / z
    assert found.by_chance == pytest.approx(deviation * np.sqrt(2 / np.pi))
    assert found.std_error == pytest.approx(deviation * np.sqrt(1 - 2 / np.pi))


def test_what_chance_makes_is_what_draws_make():
    rng = np.random.default_rng(3)
    shares = np.array([0.5, 0.3, 0.15, 0.05])
    new, old = exactly(*(2000 * shares), std=15.0), exactly(*(5000 * shares), std=40.0)
    told = distance_between(new, old)
    values = []
    for _ in range(4000):
        pair = [
            dataclasses.replace(
                one,
                counts=rng.multinomial(size, shares) + np.sqrt(one.variances) * rng.normal(size=4),
            )
            for one, size in ((new, 2000), (old, 5000))
        ]
        values.append(distance_between(*pair).value)
    assert np.mean(values) == pytest.approx(told.by_chance, rel=0.03)
    assert np.std(values) == pytest.approx(told.std_error, rel=0.05)


def test_the_covariance_of_shares_is_that_of_draws_and_sums_to_nothing():
    rng = np.random.default_rng(4)
    shares = np.array([0.6, 0.3, 0.1])
    counted_once = exactly(*(3000 * shares), std=25.0)
    noisy = rng.multinomial(3000, shares, size=40_000) + 25.0 * rng.normal(size=(40_000, 3))
    drawn_shares = noisy / noisy.sum(axis=1, keepdims=True)
    told = share_covariance(counted_once, shares, 1)
    assert np.allclose(told.sum(axis=0), 0.0, atol=1e-15)
    assert np.allclose(np.cov(drawn_shares.T), told, atol=0.03 * told.max())


def test_records_of_one_person_widen_the_sampling_part_alone():
    counts = exactly(400, 600, std=10.0)
    once, thrice = (share_covariance(counts, np.array([0.4, 0.6]), most) for most in (1, 3))
    assert thrice[0, 0] - once[0, 0] == pytest.approx(2 * 0.24 / 1000)


def chances(rng: Any, known: float) -> np.ndarray:
    """Returns p-values of studies of one population; `known` is the share of the noise told."""
    found = []
    for _ in range(120):
        new = columns(drawn(1500, rng), 20.0, rng)
        old = columns(drawn(2500, rng), 12.0, rng)
        told = [dataclasses.replace(one, look_std=known * one.look_std) for one in (new, old)]
        found += [one.distance.p_value for one in drift_between(*told).columns if one.distance]
    return np.array(found)


def test_alike_populations_give_even_chances_and_a_twin_with_half_the_noise_does_not():
    honest = chances(np.random.default_rng(5), 1.0)
    assert (honest < 0.05).mean() < 0.08
    assert (honest < 0.5).mean() == pytest.approx(0.5, abs=0.08)
    # A twin that counts on half the noise sees drift where there is none.
    assert (chances(np.random.default_rng(5), 0.5) < 0.05).mean() > 0.15


def test_a_column_that_moved_is_named_and_the_others_are_not():
    rng = np.random.default_rng(6)
    moved = drawn(4000, rng)
    moved["age"] = np.minimum(moved["age"] + 6, 79)
    found = drift_between(columns(moved, 15.0, rng), columns(drawn(4000, rng), 15.0, rng))
    assert found.drifted == ("age",)
    assert found.columns[0].column == "age"
    assert found.columns[0].distance.p_value < LEVEL


def test_much_noise_drowns_what_little_noise_would_show():
    rng = np.random.default_rng(7)
    old = columns(drawn(400, rng), 60.0, rng)
    found = drift_between(columns(drawn(400, rng), 60.0, rng), old)
    assert {one.verdict for one in found.columns} == {"drowned by noise"}


def test_looks_of_two_kinds_of_model_are_compared_on_cells_that_both_have():
    rng = np.random.default_rng(8)
    frame = drawn(3000, rng)
    fine = columns(frame, 0.0, rng, bins=1000)
    within = counted(frame, "sick", pairs=False)
    found = drift_between(fine, within)
    assert not found.not_compared
    assert all(one.distance.value == pytest.approx(0.0, abs=1e-12) for one in found.columns)


def test_groups_hold_every_count_once():
    rng = np.random.default_rng(9)
    new, old = columns(drawn(900, rng), 5.0, rng), columns(drawn(900, rng), 5.0, rng)
    for one, other in zip(looked_columns(new), looked_columns(old), strict=True):
        first, second = grouped(one, other)
        assert first.counts.shape == second.counts.shape
        # At whatever width the axis is told, all its cells and all cells apart are in.
        sums = [one.counts.sum() + axis.counts.sum() for axis in one.axes] or [one.counts.sum()]
        assert np.isclose(first.total, sums).any()


def test_columns_of_other_values_are_not_compared():
    rng = np.random.default_rng(10)
    frame = drawn(500, rng)
    kept = [one for one in SCHEMA.columns if one.name != "group"]
    other = Schema((*kept, Column("group", kind="category", values=("a", "b", "c", "d"))))
    found = drift_between(
        counted(frame, "sick", pairs=False), counted(frame, "sick", schema=other, pairs=False)
    )
    assert found.not_compared == ("group",)
    assert len(found.columns) == len(SCHEMA.columns) - 1


def test_it_can_all_be_told_as_plain_values():
    rng = np.random.default_rng(11)
    found = drift_between(columns(drawn(500, rng), 5, rng), columns(drawn(500, rng), 5, rng))
    told = found.to_dict()
    assert told["epsilon_added"] == 0.0
    assert [one["column"] for one in told["columns"]] == [one.column for one in found.columns]
    assert set(itertools.chain(*told["columns"])) >= {"distance", "std_error", "verdict"}
