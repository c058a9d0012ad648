"""Both engines take the same steps, and Opacus' own private training agrees."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from opacus import PrivacyEngine
from torch import nn

from fedloom.privacy.clipping import clipped_gradient_sum
from fedloom.privacy.clipping.single import tightened
from fedloom.privacy.mechanisms.private_training import TRAINING_ENGINES, private_training
from fedloom.privacy.noise import NoiseSource

SETTINGS = {
    "local_steps": 6,
    "sample_rate": 0.1,
    "noise_multiplier": 0.8,
    "max_grad_norm": 0.5,
    "learning_rate": 0.05,
    "normaliser": 6.0,
}


def train(model, records, public, **changes):
    settings = {**SETTINGS, "noise": NoiseSource.from_insecure_seed(11), **changes}
    return private_training(model.private_module(), model, *records, public, **settings)


def assert_close(a, b, tolerance=1e-9):
    assert list(a) == list(b)
    for name in a:
        np.testing.assert_allclose(a[name], b[name], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("sample_rate", [0.0, 0.02, 0.5])
@pytest.mark.parametrize("max_physical_batch", [None, 4])
def test_engines_give_the_same_weights(
    model, records, public, optimizer, sample_rate, max_physical_batch
):
    """Rate 0 gives empty batches only, 0.02 some: each takes its noisy step."""
    fused, opacus = (
        train(
            model,
            records,
            public,
            engine=engine,
            optimizer=optimizer,
            sample_rate=sample_rate,
            max_physical_batch=max_physical_batch,
        )
        for engine in TRAINING_ENGINES
    )
    assert_close(fused, opacus)
    start = dict(model.private_module().named_parameters())
    assert all((fused[name] != p.detach().numpy()).all() for name, p in start.items())


@pytest.mark.parametrize("engine", TRAINING_ENGINES)
def test_a_table_without_records_trains_on_noise(model, records, public, engine):
    codes, classes = records
    weights = train(model, (codes[:0], classes[:0]), public, engine=engine)
    assert all(np.isfinite(value).all() for value in weights.values())


@pytest.mark.parametrize("engine", TRAINING_ENGINES)
def test_a_record_without_a_finite_gradient_changes_nothing(regression, records, public, engine):
    class Poisoned(type(regression)):
        def make_batch(self, features, classes, public, rng):
            batch = super().make_batch(features, classes, public, rng)
            batch["x"][(features == 99).any(1)] = float("nan")
            return batch

    codes, classes = records
    settings = {"engine": engine, "sample_rate": 1.0, "noise_multiplier": 0.0}
    clean = train(regression, records, public, **settings)
    poisoned = train(
        Poisoned(),
        (np.vstack([codes, np.full((1, 4), 99, np.int32)]), np.append(classes, 1)),
        public,
        **settings,
    )
    assert_close(poisoned, clean)


def test_training_clips_persons_with_the_fused_engine_alone(regression, records, public):
    """One step of plain descent at rate 1 without noise is the sum over persons."""
    persons = np.repeat(np.arange(20), 3)
    settings = {"sample_rate": 1.0, "noise_multiplier": 0.0, "max_grad_norm": 1e-3}
    settings |= {"local_steps": 1, "optimizer": "sgd", "learning_rate": 1.0, "normaliser": 1.0}
    weights = train(regression, records, public, engine="fused", persons=persons, **settings)
    expected = clipped_gradient_sum(
        regression.private_module(),
        regression.loss,
        regression.make_batch(*records, public, None),
        max_grad_norm=tightened(1e-3),
        persons=torch.from_numpy(persons),
    )
    for name, start in regression.private_module().named_parameters():
        moved = start.detach().numpy() - weights[name]
        np.testing.assert_allclose(moved, expected[name].numpy(), rtol=1e-9, atol=1e-12)
    with pytest.raises(ValueError, match="engine='fused'"):
        train(regression, records, public, engine="opacus", persons=persons)


@pytest.mark.parametrize("engine", TRAINING_ENGINES)
def test_projection_follows_every_step(model, records, public, engine):
    def clamp(module):
        for p in module.parameters():
            p.clamp_(-0.01, 0.01)

    weights = train(model, records, public, engine=engine, project=clamp)
    assert all(abs(value).max() <= 0.01 for value in weights.values())


@pytest.mark.parametrize("engine", TRAINING_ENGINES)
def test_every_call_starts_with_a_fresh_optimiser(regression, records, public, engine):
    module = regression.private_module()
    start = {name: p.detach().clone() for name, p in module.named_parameters()}
    results = []
    for _ in range(2):
        module.load_state_dict(start)
        settings = {**SETTINGS, "noise": NoiseSource.from_insecure_seed(1), "engine": engine}
        results.append(private_training(module, regression, *records, public, **settings))
    assert_close(*results)
    for p in module.parameters():
        assert p.grad is None
        assert not hasattr(p, "grad_sample") and not hasattr(p, "summed_grad")


@pytest.mark.parametrize(
    "change",
    [
        {"local_steps": 0},
        {"normaliser": 0.0},
        {"noise_multiplier": -1.0},
        {"noise_multiplier": float("nan")},
        {"max_grad_norm": 0.0},
        {"sample_rate": 1.5},
        {"optimizer": "lbfgs"},
        {"engine": "ghost"},
        {"noise": NoiseSource(), "noise_multiplier": 0.0},
    ],
)
@pytest.mark.parametrize("engine", TRAINING_ENGINES)
def test_bad_arguments_are_refused(regression, records, public, engine, change):
    with pytest.raises(ValueError):
        train(regression, records, public, **{"engine": engine, **change})


@pytest.mark.filterwarnings("ignore:Secure RNG", "ignore:Full backward hook")
@pytest.mark.parametrize("engine", TRAINING_ENGINES)
def test_one_step_without_noise_is_that_of_opacus_make_private(regression, records, public, engine):
    """Oracle: Opacus' engine on the same full batch; its clip adds 1e-6 to the norm.

    Ours is tighter by what rounding may add.
    """
    codes, classes = records
    expected = regression.private_module()
    batch = regression.make_batch(codes, classes, public, None)
    optimizer = torch.optim.SGD(expected.parameters(), lr=0.05)
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(batch["x"], batch["y"]), batch_size=len(classes)
    )
    wrapped, optimizer, _ = PrivacyEngine().make_private(
        module=expected,
        optimizer=optimizer,
        data_loader=loader,
        noise_multiplier=0.0,
        max_grad_norm=tightened(0.5),
        poisson_sampling=False,
    )
    logits = wrapped(batch["x"]).squeeze(1)
    nn.functional.binary_cross_entropy_with_logits(logits, batch["y"]).backward()
    optimizer.step()
    wrapped.to_standard_module()

    got = train(
        regression,
        records,
        public,
        engine=engine,
        optimizer="sgd",
        local_steps=1,
        sample_rate=1.0,
        noise_multiplier=0.0,
        normaliser=float(len(classes)),
    )
    oracle = {name: p.detach().numpy() for name, p in expected.named_parameters()}
    assert_close(got, oracle, tolerance=1e-6)
