"""A canary, the attack on it, and step functions with bugs built in.

The audit is white-box and of one step at rate 1: the record in question has a gradient of norm
far above the clip in a direction that nothing else touches, the attacker knows everything but
that record's presence and the noise, and scores an answer by its projection on that direction.
Under the claim, scores with and without the record differ as N(0, 1) and N(mu, 1) with
mu = 1 / noise_multiplier, and no attack can do better.

Source: Nasr et al. 2023 (arXiv:2302.07956) for the attack; Clopper & Pearson 1934 for the error
rates; Dong, Roth & Su 2022 (arXiv:1905.02383) for mu of a Gaussian mechanism.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch
from numpy.typing import NDArray
from torch import nn

from fedloom.client.home import Home
from tests.federation import make_home
from tests.mu_audit import Found

AUDITS = pytest.StashKey[list[tuple[str, Found]]]()


class Canary:
    """Records are codes: 0 is the canary, with a gradient of norm `strength` along the first axis.

    Codes 1 and 2 are bystanders along the other axes, 3 is a weaker one against the canary.
    `paired` gives the loss a second half on a fake of its own, as a critic has.
    """

    width = 3
    directions = torch.tensor([[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0], [-0.1, 0, 0]])

    def __init__(self, strength: float = 50.0, paired: bool = False) -> None:
        self._strength = strength
        self._paired = paired

    def private_module(self) -> nn.Module:
        module = nn.Linear(self.width, 1, bias=False)
        nn.init.zeros_(module.weight)
        return module

    def make_batch(self, features, classes, public, rng):
        x = self._strength * self.directions[torch.from_numpy(features[:, 0]).long()]
        return {"real": x, "fake": -0.5 * x if self._paired else torch.zeros_like(x)}

    def loss(self, module, batch):
        return (module(batch["real"]) - module(batch["fake"])).squeeze(1)


def records(*codes: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Returns feature codes and classes of a table."""
    return np.array(codes, dtype=np.int32).reshape(-1, 1), np.zeros(len(codes), dtype=np.int64)


def lower_bound_of_mu(
    without: NDArray[np.float64], with_it: NDArray[np.float64], false_alarm: float = 1e-3
) -> float:
    """Lower-bounds mu of a Gaussian mechanism from scores of two neighbouring tables.

    The first halves choose the threshold, the second halves bound both error rates by Clopper
    and Pearson at `false_alarm` / 2 each; so the bound exceeds the true mu with probability at
    most `false_alarm`.
    """
    half = len(without) // 2
    cuts = np.quantile(
        np.concatenate([without[:half], with_it[:half]]), np.linspace(0.02, 0.98, 97)
    )
    seen = [_mu(without[:half], with_it[:half], cut, false_alarm / 2) for cut in cuts]
    return _mu(without[half:], with_it[half:], cuts[int(np.argmax(seen))], false_alarm / 2)


def _mu(without: NDArray, with_it: NDArray, cut: float, level: float) -> float:
    def upper(wrong: int, count: int) -> float:
        return 1.0 if wrong == count else scipy.stats.beta.ppf(1 - level, wrong + 1, count - wrong)

    false_positive = upper(int((without > cut).sum()), len(without))
    false_negative = upper(int((with_it <= cut).sum()), len(with_it))
    return float(scipy.stats.norm.isf(false_positive) - scipy.stats.norm.ppf(false_negative))


@pytest.fixture
def canary() -> type[Canary]:
    return Canary


@pytest.fixture
def table() -> Callable[..., tuple[NDArray[np.int32], NDArray[np.int64]]]:
    return records


@pytest.fixture
def mu_bound() -> Callable[..., float]:
    return lower_bound_of_mu


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Where records of audits are frozen; each plan has its own."""
    return make_home(tmp_path_factory.mktemp("audits") / "home")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a study's files go."""
    return tmp_path / "study"


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Callable[[str, Found], Found]:
    """Keeps what an audit of the mechanism as it is found for the table at the end."""

    def told(name: str, found: Found) -> Found:
        request.config.stash.setdefault(AUDITS, []).append((name, found))
        return found

    return told


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Prints the table of docs/audit.md, if asked for details (`make audit`)."""
    rows = config.stash.get(AUDITS, [])
    if not rows or config.get_verbosity() < 1:
        return
    terminalreporter.section("audits")
    terminalreporter.line("| mechanism | claim | estimate | lower bound | of the claim |")
    terminalreporter.line("|---|---|---|---|---|")
    for name, found in rows:
        numbers = f"{found.claim:.2f} | {found.estimate:.2f} | {found.bound:.2f}"
        terminalreporter.line(f"| {name} | {numbers} | {found.reached:.0%} |")
