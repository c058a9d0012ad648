"""One file each way: cards, the kit, and what a site believes of it."""

from __future__ import annotations

import io
import json
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

from fedloom.privacy.card import SiteCard
from fedloom.privacy.kit import Kit
from fedloom.privacy.plan import Plan
from tests.federation import Outcome, cli, make
from tests.stewards import init, keys_of

SITES = ("north", "south", "west")


@dataclass(frozen=True, kw_only=True)
class Parties:
    """A coordinator and three homes, joined by nobody yet."""

    folder: Path
    coordinator: Path
    homes: dict[str, Path]
    kit: Path

    def join(self, site: str, *more: object, kit: Path | None = None) -> Outcome:
        return cli("site", "join", kit or self.kit, "--home", self.homes[site], *more)

    def joined(self, site: str) -> Outcome:
        told = Kit.load(self.kit).fingerprint()
        return self.join(site, "--yes", "--fingerprint", told)

    def config(self, site: str) -> dict:
        return tomllib.loads((self.homes[site] / "site.toml").read_text())

    def changed(self, change) -> Path:
        """A kit that differs from the true one."""
        raw = json.loads(self.kit.read_text())
        change(raw)
        path = self.folder / "other.kit.json"
        path.write_text(json.dumps(raw))
        return path


def card_of(home: Path, out: Path) -> Path:
    done = cli("site", "card", "--home", home, "--out", out)
    assert done.code == 0, done.err
    return out


@pytest.fixture
def parties(tmp_path: Path) -> Parties:
    coordinator, kit = tmp_path / "c", tmp_path / "kit.json"
    assert cli("coordinator", "init", coordinator, "--host", "fed.example.org").code == 0
    homes = {name: init(tmp_path / "homes", name) for name in SITES}
    cards = [card_of(home, tmp_path / f"{name}.card.json") for name, home in homes.items()]
    done = cli("coordinator", "invite", *cards, "--coordinator", coordinator, "--out", kit)
    assert done.code == 0, done.err
    return Parties(folder=tmp_path, coordinator=coordinator, homes=homes, kit=kit)


def test_a_card_and_a_kit_hold_public_keys_and_no_secret(parties):
    for name, home in parties.homes.items():
        card = SiteCard.load(parties.folder / f"{name}.card.json")
        assert (card.key, card.exchange_key) == keys_of(home)
        assert (home / "node.pem").stat().st_mode & 0o777 == 0o600
    text = parties.kit.read_text()
    assert "PRIVATE" not in text and "BEGIN CERTIFICATE" in text
    for secret in ("coordinator.key", "authority.key", "server.key", "superexec.secret"):
        for line in (parties.coordinator / secret).read_text().splitlines():
            assert line.startswith("-----") or line not in text
    again = cli("coordinator", "invite", parties.folder / "north.card.json", "--coordinator",
                parties.coordinator, "--out", parties.folder / "again.json")  # fmt: skip
    assert again.code == 0
    assert Kit.load(parties.folder / "again.json") == Kit.load(parties.kit)


def test_joining_pins_every_other_site_and_the_authority(parties):
    before = (parties.homes["north"] / "site.toml").read_text()
    assert parties.joined("north").code == 0
    text = (parties.homes["north"] / "site.toml").read_text()
    assert text.startswith(before.rstrip("\n"))
    pins = parties.config("north")["peers"]
    assert set(pins) == {"south", "west"}
    for name, pin in pins.items():
        assert (pin["key"], pin["exchange-key"]) == keys_of(parties.homes[name])
    assert (parties.homes["north"] / "authority.crt").read_text() == (
        parties.coordinator / "authority.crt"
    ).read_text()
    once = text
    assert parties.joined("north").code == 0
    assert (parties.homes["north"] / "site.toml").read_text() == once


@pytest.mark.parametrize("more", [(), ("--yes",), ("--json",), ("--yes", "--fingerprint", "00")])
def test_nothing_is_written_without_the_fingerprint_that_another_steward_told(
    parties, more, monkeypatch
):
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    before = sorted(path.name for path in parties.homes["north"].iterdir())
    text = (parties.homes["north"] / "site.toml").read_text()
    assert parties.join("north", *more).code in {2, 3}
    assert (parties.homes["north"] / "site.toml").read_text() == text
    assert sorted(path.name for path in parties.homes["north"].iterdir()) == before


def test_a_steward_types_what_another_one_reads(parties, monkeypatch):
    told = Kit.load(parties.kit).fingerprint().upper().replace(" ", "")
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{told}\n"))
    assert parties.join("north").code == 0
    assert set(parties.config("north")["peers"]) == {"south", "west"}


def test_a_kit_with_a_key_in_another_sites_name_has_another_fingerprint(parties, tmp_path):
    evil = init(tmp_path / "evil", "south")
    forged = json.loads(card_of(evil, tmp_path / "evil.json").read_text())

    def replace(raw: dict) -> None:
        raw["sites"] = [forged if card["name"] == "south" else card for card in raw["sites"]]

    kit = parties.changed(replace)
    told = Kit.load(parties.kit).fingerprint()  # by the steward of the true south
    assert parties.join("north", "--yes", "--fingerprint", told, kit=kit).code == 3
    assert "peers" not in parties.config("north")
    # South itself finds the other keys without being told anything.
    own = parties.join("south", "--yes", "--fingerprint", Kit.load(kit).fingerprint(), kit=kit)
    assert own.code == 3


def test_a_changed_address_or_authority_changes_the_fingerprint(parties):
    told = Kit.load(parties.kit).fingerprint()
    for key in ("address", "authority", "coordinator-key", "policy"):
        other = {"address": "evil.example.org:1", "coordinator-key": "ab" * 32}.get(key, "other")
        kit = parties.changed(lambda raw, key=key, other=other: raw.update({key: other}))
        assert parties.join("north", "--yes", "--fingerprint", told, kit=kit).code == 3


def test_a_damaged_card_is_found_by_its_signature(parties):
    path = parties.folder / "north.card.json"
    raw = json.loads(path.read_text())
    path.write_text(json.dumps({**raw, "exchange-key": "cd" * 32}))
    words = ("--coordinator", parties.coordinator, "--out", parties.folder / "k.json")
    assert cli("coordinator", "invite", path, *words).code == 4


def test_a_pin_that_is_there_is_never_changed_by_a_kit(parties, tmp_path):
    assert parties.joined("north").code == 0
    other = init(tmp_path / "new", "south")
    card = card_of(other, tmp_path / "new.json")
    words = ("--coordinator", parties.coordinator, "--out", parties.kit)
    assert cli("coordinator", "invite", card, *words).code == 2
    assert cli("coordinator", "invite", card, *words, "--replace").code == 0
    pins = parties.config("north")["peers"]
    assert parties.joined("north").code == 3
    assert parties.config("north")["peers"] == pins


def test_one_node_key_cannot_stand_for_two_sites(parties, tmp_path):
    home = init(tmp_path / "twin", "twin")
    (home / "node.pem").write_bytes((parties.homes["north"] / "node.pem").read_bytes())
    card = card_of(home, tmp_path / "twin.json")
    words = ("--coordinator", parties.coordinator, "--out", parties.kit)
    assert cli("coordinator", "invite", card, *words).code == 2


def test_the_plan_takes_its_keys_from_the_cards_and_nobody_pastes_any(parties, tmp_path):
    study = make(tmp_path / "study", sites=SITES, trust="secure-sum").study
    plan = tmp_path / "plan.json"
    done = cli("study", "check", study, "--coordinator", parties.coordinator, "--out", plan)
    assert done.code == 0 and "not final" not in done.out
    assert parties.joined("north").code == 0
    assert cli("site", "plan", plan, "--home", parties.homes["north"]).code == 0
    assert {site.name: site.key for site in Plan.load(plan).sites} == {
        name: keys_of(home)[0] for name, home in parties.homes.items()
    }


def test_a_plan_of_another_coordinator_is_refused_once_joined(parties, tmp_path):
    assert parties.joined("north").code == 0
    keys = {name: keys_of(home) for name, home in parties.homes.items()}
    other = make(tmp_path / "study", sites=SITES, keys=keys, trust="secure-sum")
    assert cli("site", "plan", other.study, "--home", parties.homes["north"]).code == 3


def test_a_node_needs_a_federation_and_a_key_that_flower_can_use(parties):
    home = parties.homes["north"]
    assert cli("site", "node", "--home", home).code == 2
    assert parties.joined("north").code == 0
    done = cli("site", "node", "--home", home, "--private-key", home / "key.pem")
    assert done.code == 2 and "site keygen" in done.err


def test_the_fingerprint_is_shown_on_its_own_and_never_beside_the_question(parties, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    told = Kit.load(parties.kit).fingerprint()
    shown = parties.join("north", "--show")
    assert shown.code == 0 and told in shown.out
    asked = parties.join("north")
    assert asked.code == 3 and told not in asked.out + asked.err
    wrong = parties.join("north", "--yes", "--fingerprint", "00")
    assert wrong.code == 3 and told not in wrong.out + wrong.err
