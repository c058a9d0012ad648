"""Small private modules with their losses, and the slow oracle that engines are held against."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

Sum = dict[str, Tensor]


class Vae(nn.Module):
    """Encoder and decoder with LayerNorm and an embedded label; noise comes in the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.label = nn.Embedding(3, 4)
        self.encoder = nn.Sequential(nn.Linear(6 + 4, 8), nn.LayerNorm(8), nn.SiLU())
        self.mean, self.log_variance = nn.Linear(8, 2), nn.Linear(8, 2)
        self.decoder = nn.Sequential(nn.Linear(2 + 4, 8), nn.LayerNorm(8), nn.SiLU())
        self.head = nn.Linear(8, 6)


def vae_loss(module: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
    """The negative ELBO of each record."""
    x, label = batch["x"], module.label(batch["label"])
    hidden = module.encoder(torch.cat([x, label], 1))
    mean, log_variance = module.mean(hidden), module.log_variance(hidden)
    z = mean + (0.5 * log_variance).exp() * batch["noise"]
    logits = module.head(module.decoder(torch.cat([z, module.label(batch["label"])], 1)))
    misfit = nn.functional.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(1)
    kl = 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).sum(1)
    return misfit + kl


class Critic(nn.Module):
    """A conditional critic."""

    def __init__(self) -> None:
        super().__init__()
        self.label = nn.Embedding(3, 4)
        self.body = nn.Sequential(
            nn.Linear(10, 8), nn.LeakyReLU(0.2), nn.LayerNorm(8), nn.Linear(8, 1)
        )

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        return self.body(torch.cat([x, self.label(label)], 1)).squeeze(1)


def paired_loss(module: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
    """The critic on each record and on its own fake, one loss."""
    real = module(batch["x"], batch["label"])
    fake = module(batch["noise6"], batch["fake_label"])
    return nn.functional.softplus(-real) + nn.functional.softplus(fake)


@dataclass(frozen=True)
class Case:
    """A module, its loss, and batches of any size for it."""

    module: nn.Module
    loss: Callable[[nn.Module, Mapping[str, Tensor]], Tensor]

    def batch(self, units: int, seed: int = 5) -> dict[str, Tensor]:
        rng = torch.Generator().manual_seed(seed)
        dtype = next(self.module.parameters()).dtype

        def draw(width: int) -> Tensor:
            return torch.randn(units, width, generator=rng, dtype=dtype)

        def labels() -> Tensor:
            return torch.randint(0, 3, (units,), generator=rng)

        return {
            "x": (draw(6) > 0).to(dtype),
            "noise": draw(2),
            "noise6": draw(6),
            "label": labels(),
            "fake_label": labels(),
        }


@pytest.fixture(params=["vae", "gan"])
def case(request: pytest.FixtureRequest) -> Case:
    torch.manual_seed(20261122)
    module, loss = (Vae(), vae_loss) if request.param == "vae" else (Critic(), paired_loss)
    return Case(module.double(), loss)


@pytest.fixture(params=["vae", "gan"], scope="module")
def persons_case(request: pytest.FixtureRequest) -> Case:
    """As `case`, once for all examples of a property."""
    torch.manual_seed(20261122)
    module, loss = (Vae(), vae_loss) if request.param == "vae" else (Critic(), paired_loss)
    return Case(module.double(), loss)


@pytest.fixture
def gan() -> Case:
    torch.manual_seed(20261122)
    return Case(Critic().double(), paired_loss)


@pytest.fixture
def oracle() -> Callable[[Case, Mapping[str, Tensor], float], Sum]:
    """The clipped sum by one ordinary backward pass per unit."""

    def clipped(case: Case, batch: Mapping[str, Tensor], max_grad_norm: float) -> Sum:
        named = dict(case.module.named_parameters())
        total = {name: torch.zeros_like(p) for name, p in named.items()}
        for i in range(batch["x"].shape[0]):
            alone = {name: value[i : i + 1] for name, value in batch.items()}
            gradients = torch.autograd.grad(
                case.loss(case.module, alone).sum(), list(named.values()), allow_unused=True
            )
            gradients = [
                torch.zeros_like(p) if g is None else g
                for g, p in zip(gradients, named.values(), strict=True)
            ]
            norm = torch.sqrt(sum(g.square().sum() for g in gradients))
            if torch.isfinite(norm):
                factor = min(1.0, max_grad_norm / float(norm))
                for name, g in zip(named, gradients, strict=True):
                    total[name] += factor * g
        return {name: value.detach() for name, value in total.items()}

    return clipped
