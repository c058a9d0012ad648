"""A vault that joined a federation begins no plan of another coordinator's key, and ends one."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedloom.client.vault import Vault
from fedloom.common.typed import plain
from fedloom.privacy.keys import public_key_hex
from fedloom.privacy.kit import Kit
from fedloom.privacy.ledger import read_ledger
from tests.federation import COORDINATOR, approve_at, make_home, make_plan, request, status, table


@pytest.fixture
def joined(tmp_path):
    """The home `north` that approved a plan, the plan, and what writes the kit that it joined."""
    homes = {name: make_home(tmp_path / name, name) for name in ("north", "south")}
    plan = make_plan(tmp_path / "study", homes)
    approve_at(homes["north"], plan, table(100))

    def join(key):
        kit = Kit(
            address="fed.example.org:8443",
            coordinator_key=public_key_hex(key),
            authority="",
            sites=[],
        )
        homes["north"].kit_path.write_text(json.dumps(plain(kit)))

    return homes["north"], plan, join


def test_a_plan_of_the_coordinator_s_key_begins(joined):
    home, plan, join = joined
    join(COORDINATOR)
    with Vault(home) as vault:
        assert status(vault, request(plan)) == "ok"


def test_a_plan_of_a_key_before_a_change_begins_no_run_and_costs_nothing(joined):
    home, plan, join = joined
    join(Ed25519PrivateKey.generate())
    entries = len(read_ledger(home.path).entries)
    with Vault(home) as vault:
        assert status(vault, request(plan)) == "not-approved"
        assert status(vault, request(plan, "statistic", 1)) == "not-approved"
    assert len(read_ledger(home.path).entries) == entries


def test_a_run_that_began_before_the_change_goes_on_to_its_end(joined):
    home, plan, join = joined
    join(COORDINATOR)
    with Vault(home) as vault:
        assert status(vault, request(plan, run="one")) == "ok"
        join(Ed25519PrivateKey.generate())
        assert status(vault, request(plan, run="one")) == "ok"
        assert status(vault, request(plan, "statistic", 1, run="one")) == "ok"
        assert status(vault, request(plan, "finish", run="one")) == "ok"
