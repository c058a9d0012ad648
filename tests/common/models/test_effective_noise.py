"""Effective noise follows its formula; trust falls from one to nothing."""

from __future__ import annotations

import pytest

from fedloom.common.models.effective_noise import effective_noise, trust_in_training
from fedloom.common.models.registry import MODELS, VaeWeights
from fedloom.common.vocabulary import Exchange

ROUNDS = VaeWeights(sample_rate=0.1, num_rounds=4, local_steps=25)


def test_pooling_sites_gains_the_square_root_of_their_number():
    one = effective_noise(ROUNDS, 2.0, num_parameters=10_000, records=1000.0)
    four = effective_noise(ROUNDS, 2.0, num_parameters=10_000, records=4000.0, num_sites=4)
    assert four == pytest.approx(one / 2)


def test_an_empty_site_is_all_noise():
    noise = effective_noise(ROUNDS, 2.0, num_parameters=10_000, records=0.0)
    assert noise > 100
    assert trust_in_training(noise) < 1e-4


@pytest.mark.parametrize("kind", ["vae", "gan"])
@pytest.mark.parametrize("exchange", ["weights", "gradients"])
def test_defaults_name_what_effective_noise_needs(kind, exchange):
    rounds = MODELS[kind].training[Exchange(exchange)]()
    assert 0.0 < effective_noise(rounds, 1.0, num_parameters=10, records=100.0) < 10.0
