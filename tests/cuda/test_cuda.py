"""A site on a real GPU: the same sums as on the processor, and the noise never made there.

`make cuda`, or `pytest -m cuda`; skipped on a machine without a GPU.
"""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from fedloom.client.device import torch_device
from fedloom.privacy.clipping import clipped_gradient_sum
from fedloom.privacy.mechanisms.noisy_gradient import noisy_gradient
from fedloom.privacy.noise import NoiseSource

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]

GRID_STEP = 2.0**-24


class Perceptron:
    """Logistic regression of the class on eight codes, in double precision."""

    def private_module(self) -> nn.Module:
        torch.manual_seed(3)
        return nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1)).double()

    def make_batch(self, features, classes, public, rng):
        return {
            "x": torch.from_numpy(features.astype(np.float64)),
            "y": torch.from_numpy(classes.astype(np.float64)),
        }

    def loss(self, module, batch):
        logits = module(batch["x"]).squeeze(1)
        return nn.functional.binary_cross_entropy_with_logits(logits, batch["y"], reduction="none")


class Convolutional(Perceptron):
    """The same of an 8 x 8 picture."""

    def private_module(self) -> nn.Module:
        torch.manual_seed(4)
        return nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1),
            nn.GroupNorm(2, 4),
            nn.Tanh(),
            nn.Flatten(),
            nn.Linear(256, 1),
        ).double()

    def make_batch(self, features, classes, public, rng):
        batch = super().make_batch(features, classes, public, rng)
        return {**batch, "x": batch["x"].reshape(-1, 1, 8, 8) / 16}


def records(width: int, count: int = 700):
    rng = np.random.default_rng(8)
    return rng.integers(0, 5, (count, width), dtype=np.int32), rng.integers(0, 2, count)


MODELS = [(Perceptron(), 8), (Convolutional(), 64)]


@pytest.mark.parametrize("model, width", MODELS, ids=["dense", "convolutional"])
@pytest.mark.parametrize("engine", ["fused", "functional", "opacus"])
def test_clipped_sums_agree_with_the_processor(model, width, engine):
    module = model.private_module()
    batch = model.make_batch(*records(width), {}, None)
    settings = {"max_grad_norm": 0.05, "engine": engine, "dtype": torch.float64}
    here = clipped_gradient_sum(module, model.loss, batch, **settings)
    there = clipped_gradient_sum(
        copy.deepcopy(module).cuda(),
        model.loss,
        {name: value.cuda() for name, value in batch.items()},
        **settings,
    )
    for name, value in here.items():
        assert there[name].device.type == "cuda"
        torch.testing.assert_close(there[name].cpu(), value, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("model, width", MODELS, ids=["dense", "convolutional"])
def test_a_round_gives_the_processor_s_answer_under_one_seed(model, width):
    """Sample, latents and noise come from the source at the processor: the same on any device."""

    def answer(device: str) -> np.ndarray:
        return noisy_gradient(
            model.private_module().to(device),
            model,
            *records(width),
            {},
            sample_rate=0.5,
            noise_multiplier=1.0,
            max_grad_norm=0.5,
            grid_step=GRID_STEP,
            noise=NoiseSource.from_insecure_seed(5),
        )

    assert np.abs(answer("cuda") - answer("cpu")).max() <= 1


def test_no_generator_of_the_gpu_is_asked_for_noise():
    model = Perceptron()
    before = torch.cuda.get_rng_state()
    noisy_gradient(
        model.private_module().cuda(),
        model,
        *records(8),
        {},
        sample_rate=0.5,
        noise_multiplier=1.0,
        max_grad_norm=0.5,
        grid_step=GRID_STEP,
        noise=NoiseSource.from_insecure_seed(5),
    )
    assert torch.equal(torch.cuda.get_rng_state(), before)


def test_auto_takes_a_gpu():
    assert torch_device("auto").startswith("cuda:")
