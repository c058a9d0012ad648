import dataclasses

import numpy as np
import pytest

from fedloom.common.encoding import Encoding
from fedloom.common.models.registry import MixtureSettings
from fedloom.common.sampling import sample_codes
from fedloom.common.schema import Column, Schema
from fedloom.server.learners import mixture, mixture_fit
from fedloom.server.learners.class_marginals import log_marginals
from fedloom.server.learners.mixture import MixtureLearner
from fedloom.server.learners.mixture_fit import Target
from tests.linked_columns import counts_of, pair_distance


@pytest.fixture(scope="module")
def encoding():
    columns = [Column(name, "integer", minimum=0, maximum=9) for name in "abc"]
    columns.append(Column("t", "category", values=("0", "1", "2")))
    return Encoding(Schema(tuple(columns)), "t")


def learn(encoding, statistics, *, components=60, seed=1):
    learner = MixtureLearner(MixtureSettings(components=components), None, encoding)
    return learner, learner.initialise(statistics, seed)


@pytest.mark.parametrize("std, worst", [(0.5, 0.05), (20.0, 0.12)])
def test_pairs_are_matched_up_to_the_noise(encoding, std, worst):
    statistics, exact = counts_of(encoding, std=std)
    learner, state = learn(encoding, statistics)
    assert pair_distance(learner.export(state), encoding, exact) < worst


def test_components_that_are_not_fitted_are_caught(encoding, monkeypatch):
    monkeypatch.setattr(mixture_fit, "MAX_STEPS", 1)
    statistics, exact = counts_of(encoding, std=0.5)
    learner, state = learn(encoding, statistics)
    assert pair_distance(learner.export(state), encoding, exact) > 0.3


def test_the_same_seed_gives_the_same_state(encoding, monkeypatch):
    monkeypatch.setattr(mixture_fit, "MAX_STEPS", 20)
    statistics, _ = counts_of(encoding, std=20.0)
    states = [learn(encoding, statistics, seed=seed)[1] for seed in (1, 1, 2)]
    np.testing.assert_array_equal(*(state.arrays["probabilities"] for state in states[:2]))
    assert (states[0].arrays["probabilities"] != states[2].arrays["probabilities"]).any()


def test_classes_that_may_not_be_synthesised_get_no_prior(encoding, monkeypatch):
    monkeypatch.setattr(mixture_fit, "MAX_STEPS", 20)
    statistics, _ = counts_of(encoding, std=20.0)
    learner, state = learn(encoding, statistics)
    prior = learner.export(state).arrays["class_prior"]
    assert prior.sum() == pytest.approx(1.0)
    assert (prior[~np.array(encoding.class_sampleable)] == 0).all()


@pytest.mark.parametrize("rows", [0, 30])
def test_a_table_drowned_in_noise_still_gives_a_generator(encoding, rows):
    statistics, _ = counts_of(encoding, std=300.0, rows=rows)
    learner, state = learn(encoding, statistics)
    artifact = learner.export(state)
    assert all(np.isfinite(array).all() for array in artifact.arrays.values())
    codes, _ = sample_codes(artifact, encoding, 1000, seed=1)
    for position, block in enumerate(encoding.features):
        assert np.array(block.sampleable)[codes[:, position]].all()


def test_a_class_without_noise_or_records_does_not_break_the_fit(encoding):
    statistics, exact = counts_of(encoding, std=0.0, labels=(1.0, 0.0, 0.0))
    learner, state = learn(encoding, statistics)
    assert np.isfinite(state.arrays["probabilities"]).all()
    assert state.arrays["class_prior"][0] == pytest.approx(1.0)


def test_a_look_alone_gives_the_product_of_its_marginals(encoding):
    statistics, _ = counts_of(encoding, std=20.0)
    alone = dataclasses.replace(statistics, groups=None, pairs=None, pair_std=None)
    _, state = learn(encoding, alone)
    assert state.arrays["probabilities"].shape == (4, 1, encoding.width)
    np.testing.assert_allclose(
        state.arrays["probabilities"][0, 0], np.exp(log_marginals(alone))[0], atol=1e-5
    )


@pytest.mark.parametrize(
    "classes, groups, width, blocks, least, most",
    [(2, 200, 500, 14, 600, 10_000), (2, 600, 1900, 60, 100, 599), (12, 5000, 9000, 60, 64, 64)],
)
def test_a_wide_table_gets_fewer_components(classes, groups, width, blocks, least, most):
    target = Target(
        pairs=np.broadcast_to(0.0, (classes, groups, groups)),
        pair_std=1.0,
        sizes=np.ones(classes),
        start=np.broadcast_to(0.0, (classes, width)),
        groups=np.arange(width) * groups // width,
        blocks=np.arange(width) * blocks // width,
    )
    assert least <= mixture._affordable(target) <= most
