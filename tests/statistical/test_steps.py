"""Noise and batches of whole answers: fresh at every site, in every step, with every batch.

All tests are chi-square tests at 0.0001 (two-sided): one false alarm in 10,000 seeds; seeds are
fixed. Each has a twin with the bug built in.
"""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pytest
import scipy.stats
import torch
from opacus import PrivacyEngine
from torch import nn

import fedloom.privacy.mechanisms.private_training as training_module
from fedloom.privacy.mechanisms.private_training import TRAINING_ENGINES, private_training
from fedloom.privacy.noise import NoiseSource

WEIGHTS = 3000
LEVEL = 1e-4
SETTINGS = {
    "local_steps": 4,
    "sample_rate": 0.5,
    "noise_multiplier": 1.3,
    "max_grad_norm": 0.5,
    "learning_rate": 0.1,
    "normaliser": 8.0,
    "optimizer": "sgd",
}
STEP_STD = 0.1 * 1.3 * 0.5 / 8.0


class Silent:
    """Records without any gradient, so that weights are noise alone; remembers its batches."""

    def __init__(self) -> None:
        self.batches: list[np.ndarray] = []

    def private_module(self):
        module = nn.Linear(WEIGHTS, 1, bias=False)
        nn.init.zeros_(module.weight)
        return module

    def make_batch(self, features, classes, public, rng):
        self.batches.append(features[:, 0])
        return {"x": torch.zeros(len(classes), WEIGHTS)}

    def loss(self, module, batch):
        return module(batch["x"]).squeeze(1)


def train(model, noise, num_records, engine="fused", **changes):
    """Returns the weights, which started at zero."""
    codes = np.arange(num_records, dtype=np.int32).reshape(-1, 1)
    answer = private_training(
        model.private_module(),
        model,
        codes,
        np.zeros(num_records, dtype=np.int64),
        {},
        noise=noise,
        engine=engine,
        **{**SETTINGS, **changes},
    )
    return answer["weight"].reshape(-1).astype(np.float64)


def has_std(values, std):
    """Tells whether the sum of squares of Gaussian values fits `std`."""
    statistic = float(np.square(values / std).sum())
    law = scipy.stats.chi2(len(values))
    return bool(LEVEL / 2 < law.cdf(statistic) < 1 - LEVEL / 2)


@pytest.mark.parametrize("engine", TRAINING_ENGINES)
def test_every_step_carries_its_noise_even_when_batches_are_empty(engine):
    """One record at rate 1/2: about half of the batches are empty."""
    weights = train(Silent(), NoiseSource.from_insecure_seed(1), 1, engine)
    assert has_std(weights, STEP_STD * 2.0)


def test_skipped_empty_batches_are_caught(monkeypatch):
    honest = training_module._fused_steps

    @contextmanager
    def skipping(*args, **kwargs):
        with honest(*args, **kwargs) as step:
            yield lambda sampled: step(sampled) if len(sampled.tensors["x"]) else None

    monkeypatch.setattr(training_module, "_fused_steps", skipping)
    weights = train(Silent(), NoiseSource.from_insecure_seed(1), 1)
    assert not has_std(weights, STEP_STD * 2.0)


@pytest.mark.parametrize("seeds, accepted", [((5, 6), True), ((5, 5), False)])
def test_noise_of_two_sites_does_not_cancel(seeds, accepted):
    """A shared seed makes the difference of two sites' answers free of noise."""
    here, there = (train(Silent(), NoiseSource.from_insecure_seed(seed), 3) for seed in seeds)
    assert has_std(here - there, STEP_STD * np.sqrt(8.0)) is accepted


def test_unseeded_sites_do_not_share_noise():
    """Not a fixed seed: false alarm once in 10,000 runs."""
    here, there = (train(Silent(), NoiseSource(), 3) for _ in range(2))
    assert has_std(here - there, STEP_STD * np.sqrt(8.0))


def test_noise_of_two_steps_does_not_cancel():
    noise = NoiseSource.from_insecure_seed(9)
    first, second = (train(Silent(), noise, 3, local_steps=1) for _ in range(2))
    assert has_std(first - second, STEP_STD * np.sqrt(2.0))


def fits_independent_batches(batches, num_records):
    """Tells whether consecutive batches at rate 1/2 share a quarter of the records."""
    shared = [len(np.intersect1d(a, b)) for a, b in zip(batches, batches[1:], strict=False)]
    law = scipy.stats.binom(num_records, 0.25)
    return all(LEVEL / 2 < law.cdf(count) < 1 - LEVEL / 2 for count in shared)


@pytest.mark.parametrize("engine", TRAINING_ENGINES)
def test_every_step_draws_its_own_batch(engine):
    model = Silent()
    train(model, NoiseSource.from_insecure_seed(2), 400, engine)
    assert len(model.batches) == SETTINGS["local_steps"]
    assert fits_independent_batches(model.batches, 400)


def test_a_reused_batch_is_caught(monkeypatch):
    drawn = NoiseSource.poisson_sample
    kept = []

    def once(self, num_records, sample_rate):
        kept.append(drawn(self, num_records, sample_rate))
        return kept[0]

    monkeypatch.setattr(NoiseSource, "poisson_sample", once)
    model = Silent()
    train(model, NoiseSource.from_insecure_seed(2), 400)
    assert not fits_independent_batches(model.batches, 400)


@pytest.mark.filterwarnings("ignore:Secure RNG", "ignore:Full backward hook")
@pytest.mark.parametrize("scale, accepted", [(1.0, True), (0.5, False)])
def test_opacus_itself_adds_noise_of_the_same_scale(scale, accepted):
    """Oracle: the step of Opacus' own engine on records without a gradient."""
    torch.manual_seed(12)
    module = Silent().private_module()
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(torch.zeros(8, WEIGHTS)), batch_size=8
    )
    wrapped, optimizer, _ = PrivacyEngine().make_private(
        module=module,
        optimizer=torch.optim.SGD(module.parameters(), lr=0.1),
        data_loader=loader,
        noise_multiplier=1.3 * scale,
        max_grad_norm=0.5,
        poisson_sampling=False,
    )
    wrapped(torch.zeros(8, WEIGHTS)).mean().backward()
    optimizer.step()
    theirs = module.weight.detach().numpy().reshape(-1).astype(np.float64)
    assert has_std(theirs, STEP_STD) is accepted
