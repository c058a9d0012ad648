"""One noised sum of clipped gradients."""

from __future__ import annotations

import dp_accounting
import numpy as np
import pytest
import torch

from fedloom.privacy.accounting import epsilon_rdp
from fedloom.privacy.clipping import clipped_gradient_sum
from fedloom.privacy.mechanisms.gradient import event, noisy_gradient
from fedloom.privacy.noise import NoiseSource

SETTINGS = {"sample_rate": 0.5, "noise_multiplier": 1.0, "max_grad_norm": 0.5}


def gradient(model, records, public, seed=1, **changes):
    noise = NoiseSource.from_insecure_seed(seed)
    settings = {**SETTINGS, "noise": noise, **changes}
    return noisy_gradient(model.private_module(), model, *records, public, **settings)


def test_without_noise_it_is_the_clipped_sum_of_the_whole_table(regression, records, public):
    got = gradient(regression, records, public, sample_rate=1.0, noise_multiplier=0.0)
    expected = clipped_gradient_sum(
        regression.private_module(),
        regression.loss,
        regression.make_batch(*records, public, None),
        max_grad_norm=0.5,
    )
    assert list(got) == list(expected)
    for name, value in expected.items():
        assert got[name].dtype == np.float32
        np.testing.assert_allclose(got[name], value.numpy(), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("engine", ["functional", "opacus"])
def test_engines_give_the_same_answer(model, records, public, engine):
    fused = gradient(model, records, public, engine="fused")
    other = gradient(model, records, public, engine=engine, max_physical_batch=7)
    for name, value in fused.items():
        np.testing.assert_allclose(other[name], value, rtol=1e-6, atol=1e-7)


def test_an_empty_table_answers_noise(model, records, public):
    codes, classes = records
    got = gradient(model, (codes[:0], classes[:0]), public)
    assert all(np.isfinite(value).all() and value.any() for value in got.values())


def test_no_noise_needs_an_insecure_source(regression, records, public):
    with pytest.raises(ValueError, match="insecure"):
        gradient(regression, records, public, noise=NoiseSource(), noise_multiplier=0.0)


def test_the_price_is_a_poisson_sampled_gaussian():
    expected = dp_accounting.PoissonSampledDpEvent(0.01, dp_accounting.GaussianDpEvent(1.5))
    assert epsilon_rdp([event(0.01, 1.5)], 1e-5) == epsilon_rdp([expected], 1e-5)


def test_models_see_batches_of_one_public_shape_and_one_thread(regression, records, public):
    """So that neither fakes nor gradients of a record are rounded by how many others there are."""
    codes, classes = records
    seen, make = set(), regression.make_batch

    def watched(codes, classes, public, rng):
        seen.add((codes.shape, classes.shape, torch.get_num_threads()))
        return make(codes, classes, public, rng)

    regression.make_batch = watched
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for rows in (0, 1, 60):
            gradient(regression, (codes[:rows], classes[:rows]), public)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert seen == {((256, 4), (256,), 1)}
