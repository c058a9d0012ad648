"""A steward decides by file; whoever opens the ledger for writing records it."""

from __future__ import annotations

import pytest

from fedloom.client.decisions import decided_ledger
from fedloom.client.home import Home
from fedloom.client.vault import Vault
from fedloom.privacy.ledger import read_ledger
from tests.federation import approve_at, make_home, make_plan, table


@pytest.fixture
def approved(tmp_path):
    homes = {name: make_home(tmp_path / name, name) for name in ("north", "south")}
    plan = make_plan(tmp_path / "study", homes)
    approve_at(homes["north"], plan, table(30))
    return homes["north"], plan.digest()


def test_what_was_decided_while_a_vault_ran_is_recorded_when_it_ends(approved):
    home, plan = approved
    with Vault(home):
        home.forget_plan(plan)
        home.paused_path.touch()
    view = read_ledger(home.path)
    assert view.approval(plan) is None
    assert view.budget()["paused"]


def test_what_a_killed_vault_left_is_recorded_when_the_next_one_starts(approved):
    home, plan = approved
    home.paused_path.touch()
    home.forget_plan(plan)
    vault = Vault(home)
    try:
        assert read_ledger(home.path).approval(plan) is None
    finally:
        vault.close()


def test_nothing_is_written_without_a_decision(approved):
    home, _ = approved
    before = read_ledger(home.path).head
    with decided_ledger(Home(home.path)) as ledger:
        assert ledger.head == before
