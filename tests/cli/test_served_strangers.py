"""Strangers at a vault that the steward started: refused, and the ledger stays as it was."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fedloom.client.link import VaultUnavailableError
from fedloom.privacy.keys import generate_key
from fedloom.privacy.ledger import read_ledger
from fedloom.privacy.plan import Plan
from tests.federation import cli, promises, request, signed
from tests.served import Served
from tests.stewards import Stewards, stewards


@pytest.fixture
def consortium(tmp_path: Path) -> Stewards:
    """Two stewards who approved one run of a study with two rounds of counts."""
    made = stewards(tmp_path)
    made.approve()
    return made


@pytest.fixture
def home(consortium: Stewards) -> Path:
    return consortium.homes["north"]


@pytest.fixture
def plan(home: Path) -> Plan:
    return Plan.load(next((home / "approved").glob("*.json")))


@pytest.fixture
def served(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("v")
    folder.chmod(0o700)
    vault = Served(home, folder / "v.sock")
    yield vault
    assert vault.end() == 0
    assert cli("ledger", "verify", home).code == 0


def entries(home: Path) -> list[str]:
    return [entry.hash for entry in read_ledger(home).entries]


def spent(home: Path) -> float:
    return float(cli("budget", "show", home, "--json").json["epsilon_spent"])


def test_a_stranger_begins_asks_and_finishes_nothing(
    home: Path, plan: Plan, served: Served, tmp_path: Path
) -> None:
    stranger = generate_key(tmp_path / "stranger.key")
    look = request(plan, "statistic", 1)
    for own in (request(plan), look, request(plan, "finish")):
        before = entries(home), spent(home)
        for asked in (request(plan), look, request(plan, "finish")):
            assert served.ask(asked, stranger).header.status == "unsigned"
            assert served.send(asked.pack()).header.status == "unsigned"
        assert (entries(home), spent(home)) == before
        assert served.ask(own).ok
    assert spent(home) > 0


def test_a_replay_is_free_and_after_the_end_gets_nothing(
    home: Path, plan: Plan, served: Served
) -> None:
    asked = request(plan, "statistic", 1)
    heads = promises(asked, {"north": served.connection})
    recorded = signed(replace(asked, heads=heads))
    first = served.send(recorded)
    before = entries(home), spent(home)
    again = served.send(recorded)
    assert again.ok and np.array_equal(first.arrays["sum"], again.arrays["sum"])
    assert (entries(home), spent(home)) == before
    assert served.ask(request(plan, "finish")).ok
    before = entries(home), spent(home)
    late = served.send(recorded)
    assert late.header.status == "closed" and not late.arrays
    assert (entries(home), spent(home)) == before


@pytest.mark.parametrize("attempt", [2, 1000])
def test_in_per_site_trust_no_attempt_but_the_first_is_answered(
    home: Path, plan: Plan, served: Served, attempt: int
) -> None:
    assert served.ask(request(plan)).ok
    before = entries(home), spent(home)
    answer = served.ask(request(plan, "statistic", 1, attempt=attempt))
    assert answer.header.status == "outside-plan" and not answer.arrays
    assert (entries(home), spent(home)) == before
    assert served.ask(request(plan, "statistic", 1)).ok


def test_a_message_beyond_all_plans_is_refused_and_others_are_served(
    home: Path, plan: Plan, served: Served
) -> None:
    before = entries(home), spent(home)
    with pytest.raises(VaultUnavailableError):
        served.send(bytes(50_000_000))
    assert (entries(home), spent(home)) == before
    assert served.ask(request(plan)).ok
