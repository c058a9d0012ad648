"""A coordinator that puts its own keys under the other sites' names is found out."""

from __future__ import annotations

import tomllib

import pytest

from fedloom.client.approval import approve
from fedloom.client.peers import Peer, check_peers, read_peers
from fedloom.client.plan_in_words import in_plain_words
from fedloom.client.site_config import template
from fedloom.client.vault import Vault
from fedloom.common.errors import PolicyError
from fedloom.privacy.keys import fingerprint
from fedloom.privacy.ledger import Ledger, read_ledger
from fedloom.privacy.plan import Plan
from tests.federation import make_home, make_plan, request, status, table
from tests.plans import edited

SITES = ("east", "north", "south")


@pytest.fixture
def homes(tmp_path):
    return {name: make_home(tmp_path / name, name) for name in SITES}


@pytest.fixture
def plan(tmp_path, homes) -> Plan:
    return make_plan(tmp_path / "study", homes, trust="secure-sum")


@pytest.fixture
def forged(tmp_path, homes) -> Plan:
    """North's true keys, and the coordinator's own under every other name."""
    evil = {name: make_home(tmp_path / f"evil-{name}", name) for name in ("east", "south")}
    return make_plan(tmp_path / "forged", homes | evil, trust="secure-sum")


def told(homes) -> dict[str, Peer]:
    """What the other stewards told north."""
    return {
        name: Peer(key=homes[name].public_key(), exchange_key=homes[name].exchange_public_key())
        for name in ("east", "south")
    }


def sign(home, plan: Plan, peers) -> None:
    with Ledger.open(home.path, home.private_key()) as ledger:
        approve(home, ledger, plan, table(50), policy=None, peers=peers)


def write_config(home, peers: dict[str, Peer]) -> None:
    text = template(name="north", source='path = "x.csv"', epsilon=8.0, delta=1e-3)
    for name, peer in peers.items():
        text += f'[peers.{name}]\nkey = "{peer.key}"\nexchange-key = "{peer.exchange_key}"\n'
    home.config_path.write_text(text)


def test_a_plan_with_the_coordinators_keys_is_not_approved(homes, plan, forged):
    home, peers = homes["north"], told(homes)
    for pins in ({}, {"east": peers["east"]}, peers):
        with pytest.raises(PolicyError, match="coordinator"):
            sign(home, forged, pins)
    with pytest.raises(PolicyError, match="of south"):
        sign(home, plan, {"east": peers["east"]})
    assert [e.read().kind for e in read_ledger(home.path).entries] == ["genesis"]
    sign(home, plan, peers)
    assert read_ledger(home.path).approval(plan.digest()) is not None


def test_a_vault_does_not_serve_a_plan_whose_keys_are_not_pinned(homes, forged, plan):
    """The plans got into the home before the pins, or past the steward's commands."""
    home = homes["north"]
    sign(home, forged, None)
    sign(home, plan, None)
    write_config(home, {})
    with Vault.open(home.path) as vault:
        assert status(vault, request(plan)) == "not-approved"
    write_config(home, told(homes))
    with Vault.open(home.path) as vault:
        assert status(vault, request(forged)) == "not-approved"
        assert status(vault, request(plan)) == "ok"
    assert "fingerprints" in (home.path / "private.log").read_text()


def test_the_error_prints_the_lines_to_paste_for_what_is_not_pinned_alone(homes, plan):
    with pytest.raises(PolicyError) as caught:
        check_peers({}, plan, site="north")
    text = str(caught.value)
    assert "telephone or signed mail, not through the coordinator" in " ".join(text.split())
    assert read_peers(tomllib.loads(text.split("\n\n")[1])["peers"], where="site.toml") == told(
        homes
    )
    swapped = told(homes)
    swapped["east"], swapped["south"] = swapped["south"], swapped["east"]
    with pytest.raises(PolicyError) as caught:
        check_peers(swapped, plan, site="north")
    assert "[peers." not in str(caught.value)  # a wrong key is not offered for pasting


@pytest.mark.parametrize("which", ["key", "exchange-key"])
def test_either_key_must_be_the_pinned_one(homes, plan, which):
    for name in ("east", "south"):
        place = next(i for i, site in enumerate(plan.sites) if site.name == name)
        changed = edited(plan, ("sites", place, which), "ab" * 32)
        with pytest.raises(PolicyError, match=f"for '{name}'"):
            check_peers(told(homes), changed, site="north")


def test_in_local_trust_the_pins_that_exist_are_compared(tmp_path, homes):
    local = make_plan(tmp_path / "per-site", homes)
    check_peers({}, local, site="north")
    check_peers(told(homes), local, site="north")
    other = {"south": Peer(key="ab" * 32, exchange_key="cd" * 32)}
    with pytest.raises(PolicyError, match="for 'south'"):
        check_peers(other, local, site="north")


def test_the_steward_reads_every_sites_fingerprints(homes, plan):
    text = "\n".join(in_plain_words(plan, site="north"))
    for home in homes.values():
        assert fingerprint(home.public_key()) in text
        assert fingerprint(home.exchange_public_key()) in text
    assert "Compare them with every other steward" in text
