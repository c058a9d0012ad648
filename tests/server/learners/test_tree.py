"""The learner of `tree`: from noisy counts to a generator that meets them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from fedloom.common.artifact import Artifact
from fedloom.common.encoding import Encoding
from fedloom.common.marginals import NoisyMarginals, OneWayMarginals, TwoWayMarginals, groups_of_one
from fedloom.common.models.registry import TreeSettings
from fedloom.common.sampling import sample_codes
from fedloom.common.schema import Column, Schema
from fedloom.server.learners import tree_fit
from fedloom.server.learners.class_marginals import log_marginals
from fedloom.server.learners.tree import TreeLearner
from tests.linked_columns import counts_of, pair_distance


@pytest.fixture(scope="module")
def encoding():
    columns = [Column(name, "integer", minimum=0, maximum=9) for name in "abcd"]
    columns.append(Column("t", "category", values=("0", "1", "2")))
    return Encoding(Schema(tuple(columns)), "t")


def learn(statistics, *, max_clique=20_000, seed=1) -> Artifact:
    learner = TreeLearner(TreeSettings(max_clique=max_clique), None, statistics.encoding)
    return learner.export(learner.initialise(statistics, seed))


@pytest.mark.parametrize("std, worst", [(0.5, 0.03), (20.0, 0.12)])
def test_pairs_are_matched_up_to_the_noise(encoding, std, worst):
    statistics, exact = counts_of(encoding, std=std)
    assert pair_distance(learn(statistics), encoding, exact) < worst


def test_the_tilt_meets_pairs_that_no_clique_holds(encoding, monkeypatch):
    statistics, exact = counts_of(encoding, std=0.5)
    small = learn(statistics, max_clique=121)
    assert max(map(len, small.config["cliques"])) == 2
    tilted = pair_distance(small, encoding, exact)
    monkeypatch.setattr("fedloom.server.learners.tilt._SWEEPS", 0)
    untilted = dataclasses.replace(
        small, arrays={**small.arrays, "pairs": np.zeros_like(small.arrays["pairs"])}
    )
    assert tilted < 0.05 < pair_distance(untilted, encoding, exact)


def test_a_fit_that_stops_at_once_is_caught(encoding, monkeypatch):
    for steps in ("_SHARED_STEPS", "_MAX_STEPS"):
        monkeypatch.setattr(tree_fit, steps, 1)
    monkeypatch.setattr("fedloom.server.learners.tree.tilt", lambda noisy, *_, **__: [
        np.zeros(part.tables.length) for part in noisy
    ])  # fmt: skip
    statistics, exact = counts_of(encoding, std=0.5)
    assert pair_distance(learn(statistics), encoding, exact) > 0.1


def test_columns_that_noise_alone_relates_stand_apart(encoding):
    statistics, _ = counts_of(encoding, std=20.0)
    rng = np.random.default_rng(3)
    codes, classes = rng.integers(0, 10, (9_000, 4)).astype(np.int32), rng.integers(0, 2, 9_000)
    pairs, look = TwoWayMarginals(encoding), OneWayMarginals(encoding)
    unlinked = dataclasses.replace(
        statistics,
        pairs=pairs.sum(codes, classes) + rng.normal(0.0, 20.0, pairs.length),
        look=look.sum(codes, classes) + rng.normal(0.0, 20.0, look.length),
    )
    apart = learn(unlinked)
    assert len(apart.config["cliques"]) >= 3  # a pair of six may pass two deviations by chance
    assert len(learn(statistics).config["cliques"]) == 1


def test_the_same_seed_gives_the_same_arrays(encoding):
    statistics, _ = counts_of(encoding, std=20.0)
    first, again, other = (learn(statistics, seed=seed) for seed in (1, 1, 2))
    for name, array in first.arrays.items():
        np.testing.assert_array_equal(array, again.arrays[name])
    assert (first.arrays["pairs"] != other.arrays["pairs"]).any()


def test_classes_that_may_not_be_synthesised_get_no_prior(encoding):
    statistics, _ = counts_of(encoding, std=20.0)
    prior = learn(statistics).arrays["class_prior"]
    assert prior.sum() == pytest.approx(1.0)
    assert (prior[~np.array(encoding.class_sampleable)] == 0).all()


@pytest.mark.parametrize("rows, std", [(0, 300.0), (30, 300.0), (500, 0.0)])
def test_a_table_drowned_in_noise_or_without_any_still_gives_a_generator(encoding, rows, std):
    statistics, _ = counts_of(encoding, std=std, rows=rows)
    artifact = learn(statistics)
    assert all(np.isfinite(array).all() for array in artifact.arrays.values())
    codes, _ = sample_codes(artifact, encoding, 1000, seed=1)
    for position, block in enumerate(encoding.features):
        assert np.array(block.sampleable)[codes[:, position]].all()


def test_a_look_alone_gives_the_product_of_its_marginals(encoding):
    statistics, _ = counts_of(encoding, std=20.0)
    alone = dataclasses.replace(statistics, groups=None, pairs=None, pair_std=None)
    artifact = learn(alone)
    codes, classes = sample_codes(artifact, encoding, 100_000, seed=1)
    block = encoding.features[0]
    shares = np.bincount(codes[classes == 0, 0], minlength=block.size) / (classes == 0).sum()
    np.testing.assert_allclose(shares, np.exp(log_marginals(alone))[0, : block.size], atol=3e-3)


def test_a_numeric_target_keeps_its_classes():
    columns = [Column(name, "integer", minimum=0, maximum=19) for name in "ab"]
    encoding = Encoding(Schema(tuple(columns)), "b")
    rng = np.random.default_rng(5)
    codes = np.stack([rng.integers(0, 20, 5000)] * 2, axis=1).astype(np.int32)
    classes = encoding.class_of_cell[codes[:, 1]]
    pairs = TwoWayMarginals(encoding).sum(codes, classes).astype(float)
    look = OneWayMarginals(encoding).sum(codes, classes).astype(float)
    statistics = NoisyMarginals(
        encoding=encoding,
        look=look,
        look_std=0.0,
        groups=groups_of_one(encoding),
        pairs=pairs + rng.normal(0, 1.0, len(pairs)),
        pair_std=1.0,
    )
    drawn, labels = sample_codes(learn(statistics), encoding, 5000, seed=1)
    assert (encoding.class_of_cell[drawn[:, 1]] == labels).all()
    assert (drawn[:, 0] == drawn[:, 1]).mean() > 0.9
