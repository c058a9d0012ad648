"""Small homes whose events are single Gaussians, so that prices are quick."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fedloom.privacy.events import DpEvent, gaussian, repeat
from fedloom.privacy.keys import PrivateKey, generate_key
from fedloom.privacy.ledger import Ledger
from tests.given import given


class SmallHome:
    """A home with one approved plan: three Gaussians of noise 8, epsilon 0.78 at delta 1e-5."""

    plan, run = "plan-a", "run-1"
    step = gaussian(8.0)

    def __init__(self, path: Path, epsilon_limit: float = 3.0) -> None:
        path.mkdir(mode=0o700)
        self.path = path
        self.key: PrivateKey = generate_key(path / "key.pem")
        with Ledger.create(
            path,
            private_key=self.key,
            site="seattle",
            epsilon_limit=epsilon_limit,
            delta_limit=1e-5,
            interval=1e-3,
        ) as ledger:
            self.approve(ledger, self.plan, repeat(self.step, 3))

    def open(self) -> Ledger:
        return Ledger.open(self.path, self.key, interval=1e-3)

    @staticmethod
    def approve(
        ledger: Ledger,
        plan: str,
        event: DpEvent,
        unit: str = "record",
        *,
        runs: int = 1,
        learned: tuple[str, ...] = (),
    ) -> None:
        ledger.approve(
            study="study",
            plan=plan,
            name="rand",
            unit=unit,
            id=None if unit == "record" else "patient",
            coordinator="c0" * 32,
            event=event,
            runs=runs,
            learned=learned,
            snapshot_commitment="salted",
            summary={"epsilon": 1.0},
        )

    def reserve(self, ledger: Ledger) -> None:
        ledger.reserve(plan=self.plan, run=self.run, event=repeat(self.step, 3))

    def key_of(self, round_number: int, attempt: int = 1) -> dict[str, Any]:
        return {"plan": self.plan, "run": self.run, "round": round_number, "attempt": attempt}

    def open_attempt(
        self, ledger: Ledger, round_number: int, attempt: int = 1, digest: str = "d"
    ) -> None:
        roster = ("portland", "seattle")
        ledger.open_attempt(
            **self.key_of(round_number, attempt),
            query="statistic",
            roster=roster,
            void=[roster] * (attempt - 1),
            request_digest=digest,
            event=self.step,
        )

    def answer(
        self, ledger: Ledger, round_number: int, attempt: int = 1, answer: bytes = b"answer"
    ) -> None:
        self.open_attempt(ledger, round_number, attempt)
        ledger.commit(**self.key_of(round_number, attempt), arrays=given(answer))


@pytest.fixture
def small(tmp_path: Path) -> SmallHome:
    """A closed home."""
    return SmallHome(tmp_path / "home")


@pytest.fixture
def ledger(small: SmallHome) -> Iterator[Ledger]:
    """The same home's ledger, open, with its plan reserved."""
    with small.open() as opened:
        small.reserve(opened)
        yield opened


@pytest.fixture
def new_home(tmp_path: Path) -> Callable[[str, float], SmallHome]:
    """Makes further homes."""
    return lambda name, limit: SmallHome(tmp_path / name, limit)
