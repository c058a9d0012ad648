"""New keys of a site, by the command line: to the coordinator, to fellow sites, to a release."""

from __future__ import annotations

import json
import shutil
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fedloom.client.peers import without_peer
from fedloom.client.vault_memory import memory_folder
from fedloom.common.typed import plain
from fedloom.privacy.card import SiteCard
from fedloom.privacy.keys import generate_key, save_key
from fedloom.privacy.kit import Kit
from fedloom.privacy.ledger import read_ledger
from fedloom.server.head_registry import HeadRegistry, registry_path
from tests.federation import COORDINATOR, Outcome, cli, make
from tests.stewards import Stewards, init, keys_of

SITES = ("north", "south", "west")


@dataclass(frozen=True, kw_only=True)
class Parties:
    """A coordinator and two homes that have joined, and what they are asked."""

    folder: Path
    coordinator: Path
    homes: dict[str, Path]

    @property
    def kit(self) -> Path:
        return self.folder / "kit.json"

    def card(self, site: str) -> Path:
        return self.folder / f"{site}.card.json"

    def invite(self, *cards: Path, more: tuple[str, ...] = ()) -> Outcome:
        to = ("--coordinator", self.coordinator, "--out", self.kit)
        return cli("coordinator", "invite", *cards, *to, *more)

    def join(self, site: str, *more: object) -> Outcome:
        return cli("site", "join", self.kit, "--home", self.homes[site], "--yes", *more)

    def rotate(self, site: str, *more: object) -> Outcome:
        to = ("--out", self.card(site), "--yes", "--json")
        return cli("site", "rotate", "--home", self.homes[site], *to, *more)

    def told(self, site: str) -> None:
        """Has everybody learn the new keys of a site."""
        for done in (self.invite(self.card(site)), *map(self.join, SITES)):
            assert done.code == 0, done.err

    def pins(self, site: str) -> dict[str, Any]:
        return tomllib.loads((self.homes[site] / "site.toml").read_text())["peers"]

    def study(self, name: str, epsilon: float = 1.0) -> Stewards:
        """A study with the keys that the homes have now, of this coordinator."""
        keys = {site: keys_of(home) for site, home in self.homes.items()}
        trust = "secure-sum"
        study = make(self.folder / name, "mixture", sites=SITES, keys=keys, epsilon=epsilon,
                     trust=trust)  # fmt: skip
        study.coordinator_key.unlink()
        return Stewards(homes=self.homes, federation=study)

    def run(self, study: Stewards, name: str) -> Outcome:
        """Runs a study under the coordinator's key, which remembers heads over all runs."""
        key = self.coordinator / "coordinator.key"
        return study.simulate(self.folder / name, "--coordinator-key", str(key))


@pytest.fixture
def parties(tmp_path: Path) -> Parties:
    homes = {name: init(tmp_path / "homes", name) for name in SITES}
    made = Parties(folder=tmp_path, coordinator=tmp_path / "c", homes=homes)
    assert cli("coordinator", "init", made.coordinator, "--host", "fed.example.org").code == 0
    (made.coordinator / "coordinator.key").unlink()
    save_key(made.coordinator / "coordinator.key", COORDINATOR)
    for name, home in homes.items():
        assert cli("site", "card", "--home", home, "--out", made.card(name)).code == 0
    assert made.invite(*map(made.card, SITES)).code == 0
    told = Kit.load(made.kit).fingerprint()
    for name in SITES:
        done = made.join(name, "--fingerprint", told)
        assert done.code == 0, done.err
    return made


def test_new_keys_reach_coordinator_and_fellows_without_a_telephone_call(parties):
    before = keys_of(parties.homes["north"])
    done = parties.rotate("north")
    assert done.code == 0, done.err
    assert set(done.json["changed"]) == {"key.pem", "exchange.pem", "node.pem"}
    after = keys_of(parties.homes["north"])
    assert not set(before) & set(after)
    done = parties.invite(parties.card("north"), more=("--json",))
    assert done.code == 0 and done.json["changed"] == ["north"]
    done = parties.join("south", "--json")
    assert done.code == 0 and done.json["changed"] == ["north"] and done.json["pinned"] == []
    pin = parties.pins("south")["north"]
    assert (pin["key"], pin["exchange-key"]) == after
    assert pin["former-keys"] == [before[0]]
    assert parties.join("north").code == 0
    assert cli("site", "preflight", "--home", parties.homes["south"], "--json").json["checks"]


def test_fellow_sites_are_told_which_approved_plans_no_longer_run(parties):
    study = parties.study("one")
    study.approve()
    (plan,) = read_ledger(parties.homes["south"]).open_plans
    done = parties.rotate("north")
    assert done.code == 0 and done.json["ended"] == [plan]
    assert parties.invite(parties.card("north")).code == 0
    assert parties.join("south", "--json").json["ended"] == [plan]
    told = parties.join("south").out
    assert plan[:12] in told and "resolve the study again" in told and "site revoke" in told


def test_nothing_changes_where_the_card_could_not_be_written(parties):
    home = parties.homes["north"]
    before = {path.name: path.read_bytes() for path in home.glob("*.pem")}
    missing = parties.folder / "missing" / "card.json"
    assert cli("site", "rotate", "--home", home, "--yes", "--out", missing).code == 2
    assert {path.name: path.read_bytes() for path in home.glob("*.pem")} == before and before


def test_every_kind_of_key_changes_alone(parties):
    for option, name in (("signing", 0), ("exchange", 1)):
        before = keys_of(parties.homes["north"])
        node = SiteCard.load(parties.card("north")).node_key
        assert parties.rotate("north", f"--{option}").code == 0
        after = keys_of(parties.homes["north"])
        assert [old != new for old, new in zip(before, after, strict=True)] == [
            name == 0,
            name == 1,
        ]
        assert SiteCard.load(parties.card("north")).node_key == node
        assert parties.invite(parties.card("north")).code == 0
        assert parties.join("south").code == 0
    assert parties.rotate("north", "--node").code == 0
    assert SiteCard.load(parties.card("north")).node_key != node
    assert keys_of(parties.homes["north"]) == after
    assert parties.invite(parties.card("north")).code == 0
    assert parties.join("south").code == 0


def test_a_card_from_before_a_change_of_keys_is_not_taken_again(parties):
    old, cards = parties.card("north").read_bytes(), parties.folder / "old.json"
    for _ in range(2):
        cards.write_bytes(old)
        assert parties.rotate("north", "--node").code == 0
        assert parties.invite(parties.card("north")).code == 0
        old_node = SiteCard.load(cards).node_key
        done = parties.invite(cards)
        assert done.code == 2, done.err
        assert Kit.load(parties.kit).card("north").node_key != old_node
        old = parties.card("north").read_bytes()


def test_a_card_that_somebody_else_signed_is_refused_everywhere(parties, tmp_path):
    """The twin: the true card is taken."""
    assert parties.rotate("north").code == 0
    true = json.loads(parties.card("north").read_text())
    stranger = generate_key(tmp_path / "stranger.pem")
    rotations = SiteCard.load(parties.card("north")).rotations
    forged = {
        "its own signature": {**true, "signature": "00" * 64},
        "a stranger's keys": plain(
            SiteCard.signed(
                name="north",
                key=stranger,
                exchange_key=true["exchange-key"],
                node_key=true["node-key"],
                rotations=rotations,
            )
        ),
        "no chain": plain(
            SiteCard.signed(
                name="north",
                key=stranger,
                exchange_key=true["exchange-key"],
                node_key=true["node-key"],
            )
        ),
    }
    cut = json.loads(json.dumps(true))
    cut["rotations"][0]["signature"] = "00" * 64
    forged["without the old key's signature"] = cut
    cut = json.loads(json.dumps(true))
    cut["rotations"][0]["body"]["data"]["countersignature"] = "00" * 64
    forged["without the new key's countersignature"] = cut
    for name, raw in forged.items():
        path = tmp_path / "forged.json"
        path.write_text(json.dumps(raw))
        assert parties.invite(path).code in {2, 4}, name
        kit = json.loads(parties.kit.read_text())
        kit["sites"] = [raw if card["name"] == "north" else card for card in kit["sites"]]
        other = tmp_path / "forged.kit.json"
        other.write_text(json.dumps(kit))
        before = parties.pins("south")
        assert cli("site", "join", other, "--home", parties.homes["south"], "--yes").code in {
            2,
            3,
            4,
        }, name
        assert parties.pins("south") == before
    assert parties.invite(parties.card("north")).code == 0
    assert parties.join("south").code == 0


def test_a_kit_with_another_coordinator_or_a_new_site_still_asks(parties, tmp_path):
    assert parties.rotate("north").code == 0
    assert parties.invite(parties.card("north")).code == 0
    true = parties.kit.read_text()
    raw = json.loads(true)
    raw["coordinator-key"] = "ab" * 32
    parties.kit.write_text(json.dumps(raw))
    assert parties.join("south").code == 2
    parties.kit.write_text(true)
    east = init(tmp_path / "homes", "east")
    assert cli("site", "card", "--home", east, "--out", parties.card("east")).code == 0
    assert parties.invite(parties.card("east")).code == 0
    assert parties.join("south").code == 2


def test_a_renewed_authority_is_joined_unasked_and_another_is_not(parties, tmp_path):
    renewed = cli("coordinator", "renew", "--authority", "--coordinator", parties.coordinator)
    assert renewed.code == 0 and parties.invite(parties.card("north")).code == 0
    assert parties.join("south").code == 0
    kept = (parties.homes["south"] / "authority.crt").read_text()
    assert kept == (parties.coordinator / "authority.crt").read_text()
    other = tmp_path / "other"
    assert cli("coordinator", "init", other, "--host", "fed.example.org").code == 0
    raw = json.loads(parties.kit.read_text())
    parties.kit.write_text(json.dumps({**raw, "authority": (other / "authority.crt").read_text()}))
    assert parties.join("south").code == 2


def test_a_change_of_keys_spends_no_more_and_resets_nothing(parties):
    """Two studies with a change of keys between them cost what both cost."""
    first = parties.study("one")
    first.approve()
    assert parties.run(first, "run-one").code == 0
    spent = first.budget("north")["epsilon_spent"]
    assert parties.rotate("north").code == 0
    assert first.budget("north")["epsilon_spent"] == spent
    parties.told("north")

    refused = cli("site", "approve", first.federation.study, "--home", parties.homes["south"],
                  "--yes")  # fmt: skip
    assert refused.code == 3
    refused = cli("site", "approve", first.federation.study, "--home", parties.homes["north"],
                  "--yes")  # fmt: skip
    assert refused.code == 2

    second = parties.study("two")
    second.approve()
    done = parties.run(second, "run-two")
    assert done.code == 0, done.err
    assert second.budget("north")["epsilon_spent"] > 1.3 * spent
    for name in SITES:
        assert cli("ledger", "verify", parties.homes[name]).code == 0
    release = parties.folder / "release"
    assert cli("release", "build", parties.folder / "run-two", "--out", release).code == 0
    done = cli("release", "verify", release, "--json")
    assert done.code == 0
    assert any("north" in note for note in done.json["notes"])
    heads = read_ledger(parties.homes["south"]).seen.newest()
    old = read_ledger(parties.homes["north"]).former_keys[0]
    assert heads[keys_of(parties.homes["north"])[0]] > heads[old]


def another_machine() -> None:
    """Forgets what vaults on this machine hold in memory."""
    folder = memory_folder()
    if folder is not None:
        shutil.rmtree(folder)


@pytest.mark.slow
@pytest.mark.parametrize("rejoined", [True, False])
def test_a_disk_from_before_the_change_of_keys_answers_nothing(parties, rejoined):
    """Whether or not fellow sites have learned the new keys meanwhile."""
    home, image = parties.homes["north"], parties.folder / "image"
    first = parties.study("one")
    first.approve()
    shutil.copytree(home, image)  # approved, not run yet
    assert parties.run(first, "run-one").code == 0
    assert parties.rotate("north").code == 0
    if rejoined:
        parties.told("north")
        second = parties.study("two")
        second.approve()
        assert parties.run(second, "run-two").code == 0
    another_machine()
    shutil.rmtree(home)
    shutil.copytree(image, home)
    approve = cli("site", "approve", first.federation.study, "--home", parties.homes["south"],
                  "--yes")  # fmt: skip
    assert approve.code == (3 if rejoined else 0)
    commits = first.kinds("north").count("commit")
    assert parties.run(first, "again").code != 0
    assert first.kinds("north").count("commit") == commits


def test_what_the_coordinator_knows_goes_on_under_the_new_key(parties):
    first = parties.study("one")
    first.approve()
    assert parties.run(first, "run-one").code == 0
    path = registry_path(parties.coordinator / "coordinator.key")
    old = keys_of(parties.homes["north"])[0]
    before = HeadRegistry(path).newest(old)
    assert before is not None
    assert parties.rotate("north").code == 0
    assert parties.invite(parties.card("north")).code == 0
    new = keys_of(parties.homes["north"])[0]
    registry = HeadRegistry(path)
    assert registry.newest(new) == registry.newest(old) == before


@pytest.mark.slow
@pytest.mark.parametrize("remembered", [True, False])
def test_an_older_disk_gains_nothing_by_a_change_of_keys(parties, remembered):
    """Put back, then given new keys, with a coordinator who plays along and forgets what it knew.

    Fellow sites hold the ledger under the new keys against what they saw under the old ones; the
    twin, in whose pins the former keys are missing, answers.
    """
    home, image = parties.homes["north"], parties.folder / "image"
    shutil.copytree(home, image)
    first = parties.study("one")
    first.approve()
    assert parties.run(first, "run-one").code == 0
    another_machine()
    shutil.rmtree(home)
    shutil.copytree(image, home)
    assert parties.rotate("north").code == 0
    parties.told("north")
    registry_path(parties.coordinator / "coordinator.key").unlink()
    if not remembered:
        for name in ("south", "west"):
            path = parties.homes[name] / "site.toml"
            lines = path.read_text().splitlines(keepends=True)
            path.write_text("".join(line for line in lines if "former-keys" not in line))
    answered = first.kinds("south").count("commit")
    second = parties.study("two")
    second.approve()
    done = parties.run(second, "run-two")
    assert (done.code == 0) is not remembered
    assert (second.kinds("south").count("commit") == answered) is remembered


@pytest.mark.slow
def test_a_backup_from_before_a_change_of_keys_is_restored_with_its_whole_loss(parties):
    """What was seen under the later key counts; its keys vouch for nothing, so people compare."""
    home, backup = parties.homes["north"], parties.folder / "north.tar"
    assert cli("site", "backup", backup, "--home", home).code == 0
    for name in ("one", "two"):
        study = parties.study(name)
        study.approve()
        assert parties.run(study, f"run-{name}").code == 0
        if name == "one":
            assert parties.rotate("north").code == 0
            parties.told("north")
    spent = study.budget("north")["epsilon_spent"]
    heads = registry_path(parties.coordinator / "coordinator.key")
    another_machine()
    shutil.rmtree(home)
    plans = [parties.folder / f"run-{name}" / "plan.json" for name in ("one", "two")]
    restore = ("site", "restore", backup, "--home", home, "--yes", "--heads", heads)
    assert cli(*restore, "--since", plans[0]).code == 2  # a later plan is known, and not named
    shutil.rmtree(home)
    done = cli(*restore, "--since", plans[0], "--since", plans[1])
    assert done.code == 0, done.err
    assert study.budget("north")["epsilon_reserved"] >= spent

    assert parties.rotate("north").code == 0
    assert parties.invite(parties.card("north")).code == 2
    assert parties.invite(parties.card("north"), more=("--replace",)).code == 0
    told = Kit.load(parties.kit).fingerprint()
    for name in ("south", "west"):
        assert parties.join(name, "--fingerprint", told).code == 3
        path = parties.homes[name] / "site.toml"
        path.write_text(without_peer(path.read_text(), "north"))
        assert parties.join(name).code == 2
        assert parties.join(name, "--fingerprint", told).code == 0
    assert parties.join("north").code == 0
    third = parties.study("three")
    third.approve()
    done = parties.run(third, "run-three")
    assert done.code == 0, done.err
    assert third.budget("north")["epsilon_reserved"] > spent
