"""Effective noise follows its formula; trust falls from one to nothing."""

from __future__ import annotations

import pytest

from fedloom.common.models.defaults import model_defaults, training_defaults
from fedloom.common.models.effective_noise import effective_noise, trust_in_training

TRAINING = {"noise_multiplier": 2.0, "sample_rate": 0.1, "num_rounds": 4, "local_steps": 25}


def test_pooling_sites_gains_the_square_root_of_their_number():
    one = effective_noise(TRAINING, num_parameters=10_000, records=1000.0)
    four = effective_noise(TRAINING, num_parameters=10_000, records=4000.0, num_sites=4)
    assert four == pytest.approx(one / 2)


def test_an_empty_site_is_all_noise():
    noise = effective_noise(TRAINING, num_parameters=10_000, records=0.0)
    assert noise > 100
    assert trust_in_training(noise) < 1e-4


@pytest.mark.parametrize("kind", ["vae", "gan"])
@pytest.mark.parametrize("exchange", ["weights", "gradients"])
def test_defaults_name_what_effective_noise_needs(kind, exchange):
    training = {**training_defaults(kind, exchange), "noise_multiplier": 1.0}
    assert 0.0 < effective_noise(training, num_parameters=10, records=100.0) < 10.0
    assert model_defaults(kind)["kind"] == kind
