"""A small model as a site sees it: coded records in, one loss per record out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn


class Regression:
    """Logistic regression of the class on the codes, with a public offset: no fillers."""

    width = 4

    def private_module(self):
        torch.manual_seed(3)
        return nn.Sequential(nn.Linear(self.width, 5), nn.Tanh(), nn.Linear(5, 1)).double()

    def make_batch(self, features, classes, public, rng):
        x = torch.from_numpy(features.astype(np.float64)) + torch.from_numpy(public["offset"])
        return {"x": x, "y": torch.from_numpy(classes.astype(np.float64))}

    def loss(self, module, batch):
        logits = module(batch["x"]).squeeze(1)
        return nn.functional.binary_cross_entropy_with_logits(logits, batch["y"], reduction="none")


class PairedCritic(Regression):
    """A critic; each record is judged beside its own fresh fake from the public generator."""

    def make_batch(self, features, classes, public, rng):
        x = torch.from_numpy(features.astype(np.float64))
        latent = rng.normal(len(classes), self.width).double()
        return {"real": x, "fake": latent * torch.from_numpy(public["offset"])}

    def loss(self, module, batch):
        real, fake = module(batch["real"]).squeeze(1), module(batch["fake"]).squeeze(1)
        return nn.functional.softplus(-real) + nn.functional.softplus(fake)


@pytest.fixture(params=[Regression, PairedCritic])
def model(request):
    return request.param()


@pytest.fixture
def regression():
    return Regression()


@pytest.fixture
def records():
    rng = np.random.default_rng(8)
    return rng.integers(0, 5, (60, 4), dtype=np.int32), rng.integers(0, 2, 60)


@pytest.fixture
def public():
    return {"offset": np.linspace(-1.0, 1.0, 4)}
