"""One noised sum of clipped gradients."""

from __future__ import annotations

import dp_accounting
import numpy as np
import pytest
import torch

from fedloom.common.errors import ConfigError
from fedloom.privacy.accounting import epsilon_rdp
from fedloom.privacy.clipping import clipped_gradient_sum
from fedloom.privacy.clipping.single import tightened
from fedloom.privacy.mechanisms.noisy_gradient import event, noisy_gradient
from fedloom.privacy.noise import NoiseSource
from fedloom.privacy.secure_sum.sum_grid import sensitivity_on_grid

UNIT = 2.0**-24
SETTINGS = {"sample_rate": 0.5, "noise_multiplier": 1.0, "max_grad_norm": 0.5, "grid_step": UNIT}


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
        max_grad_norm=tightened(0.5),
    )
    flat = torch.cat([value.reshape(-1) for value in expected.values()]).numpy()
    assert got.dtype == np.int64 and got.shape == flat.shape
    np.testing.assert_allclose(got * UNIT, flat, rtol=0, atol=0.5001 * UNIT)


@pytest.mark.parametrize("engine", ["functional", "opacus"])
def test_engines_give_the_same_answer(model, records, public, engine):
    fused = gradient(model, records, public, engine="fused")
    other = gradient(model, records, public, engine=engine, max_physical_batch=7)
    assert np.abs(fused - other).max() <= 1


def test_rows_of_a_person_are_clipped_as_one(regression, records, public):
    persons = np.repeat(np.arange(20), 3)
    settings = {"sample_rate": 1.0, "noise_multiplier": 0.0, "max_grad_norm": 1e-3}
    everybody, others = (
        gradient(
            regression,
            tuple(part[rows] for part in records),
            public,
            persons=persons[rows],
            **settings,
        )
        for rows in (slice(None), slice(3, None))
    )
    assert 0.5e-3 < float(np.linalg.norm((everybody - others) * UNIT)) <= 1e-3
    with pytest.raises(ValueError, match="engine='fused'"):
        gradient(regression, records, public, persons=persons, engine="opacus", **settings)


@pytest.mark.parametrize("num_shares", [1, 9])
def test_noise_is_one_share_of_the_inflated_clip(regression, records, public, num_shares):
    """Variance of a million coordinates without a gradient; off by 1% once in 10^11 seeds."""

    class Silent(type(regression)):
        def private_module(self):
            return torch.nn.Linear(999_999, 1, dtype=torch.float64)

        def make_batch(self, features, classes, public, rng):
            return {"x": torch.zeros(len(classes), 1)}

        def loss(self, module, batch):
            return 0.0 * module.bias * batch["x"].squeeze(1)

    grid_step = 2.0**-16
    got = gradient(
        Silent(), records, public, engine="functional", grid_step=grid_step, num_shares=num_shares
    )
    std = sensitivity_on_grid(0.5, grid_step, 10**6, integer_valued=False) / num_shares**0.5
    assert float(np.std(got * grid_step)) == pytest.approx(std, rel=0.01)


def test_an_empty_table_answers_noise(model, records, public):
    codes, classes = records
    got = gradient(model, (codes[:0], classes[:0]), public)
    assert (got != 0).mean() > 0.9


@pytest.mark.parametrize(
    "change",
    [{"grid_step": 0.3}, {"grid_step": 0.0}, {"num_shares": 0}, {"noise_multiplier": 1e30}],
)
def test_a_grid_that_does_not_fit_is_refused_before_records_are_read(
    regression, records, public, change
):
    def read(*_):
        raise AssertionError("records were read")

    regression.make_batch = read
    with pytest.raises(ConfigError):
        gradient(regression, records, public, **change)


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
