"""A site's place in a federation: the kit that its steward confirmed, and what follows from it.

    kit.json             the confirmed kit, in the home
    authority.crt        certificate of the authority behind the coordinator's server

Joining writes a pin for every other site into `site.toml` (`fedloom.client.peers`). A pin that is
there already is changed only if the pinned key itself has handed on to the new one
(`fedloom.privacy.ledger.rotation`); else only that site's steward can say whose key changed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from fedloom.client.home import Home
from fedloom.client.peers import check_peers, without_peer
from fedloom.client.site_config import SiteConfig
from fedloom.common.errors import ConfigError, FedloomError, PolicyError
from fedloom.common.files import replacing, write_whole
from fedloom.common.typed import plain
from fedloom.privacy.card import SiteCard
from fedloom.privacy.certificate import authority_key
from fedloom.privacy.keys import fingerprint
from fedloom.privacy.kit import Kit
from fedloom.privacy.ledger import read_ledger
from fedloom.privacy.node_key import load_node_key, node_key_hex
from fedloom.privacy.plan import Plan

__all__ = ["Offer", "check_coordinator", "check_kit", "join", "kit_of", "no_longer_run", "own_card"]


def own_card(home: Home) -> SiteCard:
    """Returns the card that the steward sends to the coordinator.

    Raises:
      ConfigError: a key is missing, or `site.toml` cannot be used.
    """
    return SiteCard.signed(
        name=SiteConfig.load(home.config_path).name,
        key=home.private_key(),
        exchange_key=home.exchange_public_key(),
        node_key=node_key_hex(load_node_key(home.node_key_path)),
        rotations=read_ledger(home.path).rotations,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What a kit would change at this site.

    Attributes:
      new: cards of sites that are not pinned yet.
      changed: cards of sites whose pinned keys have handed on to other ones.
      proven: whether nothing is left to compare with other stewards: no site is new, and the
        coordinator and its authority are those of the kit that the site joined with.
    """

    new: tuple[SiteCard, ...]
    changed: tuple[SiteCard, ...]
    proven: bool


def check_kit(home: Home, kit: Kit) -> Offer:
    """Holds a kit against the home.

    Raises:
      PolicyError: the kit has other keys for this site than the home's, or other keys for another
        site than `site.toml` pins, which those have not handed on to.
      ConfigError: this site is not in the kit.
    """
    config, own = SiteConfig.load(home.config_path), own_card(home)
    named = kit.card(own.name)
    if named.signed_bytes() != own.signed_bytes():
        raise PolicyError(
            f"the kit's keys for {own.name!r} ({named.fingerprint()}) are not this home's "
            f"({own.fingerprint()}); send the coordinator what `fedloom site card` writes, and ask "
            "why it has others"
        )
    new, changed = [], []
    for card in kit.sites:
        pinned = config.peers.get(card.name)
        if card.name == own.name:
            continue
        if pinned is None:
            new.append(card)
        elif (pinned.key, pinned.exchange_key) == (card.key, card.exchange_key):
            continue
        elif card.follows(key=pinned.key, exchange_key=pinned.exchange_key):
            changed.append(card)
        else:
            raise PolicyError(
                f"the kit has other keys for {card.name!r} than site.toml pins, and does not show "
                f"that those were handed on to these; ask the steward of {card.name!r}, and not "
                "through the coordinator: if its keys changed, take "
                f"[peers.{card.name}] out of site.toml and join again"
            )
    before = kit_of(home.path)
    proven = not new and before is not None and _same_coordinator(before, kit)
    return Offer(new=tuple(new), changed=tuple(changed), proven=proven)


def _same_coordinator(before: Kit, kit: Kit) -> bool:
    """Whether the coordinator's key is the same, or handed on, and so is the authority's key."""
    keys = (*kit.former_coordinator_keys, kit.coordinator_key)
    return before.coordinator_key in keys and (
        before.authority == kit.authority
        or authority_key(before.authority.encode()) == authority_key(kit.authority.encode())
    )


def join(home: Home, kit: Kit) -> Offer:
    """Keeps a kit that the steward confirmed, or that is proven; returns what it changed.

    Raises:
      PolicyError, ConfigError: as `check_kit` says; nothing is written then.
    """
    offer = check_kit(home, kit)
    text = home.config_path.read_text(encoding="utf-8")
    for card in offer.changed:
        text = without_peer(text, card.name)
    text = text.rstrip("\n")
    for card in (*offer.new, *offer.changed):
        text += (
            f"\n\n[peers.{json.dumps(card.name)}]  # joined as {card.fingerprint()}\n"
            f'key = "{card.key}"\nexchange-key = "{card.exchange_key}"'
        )
        if card.former_keys:
            text += f"\nformer-keys = {json.dumps(card.former_keys)}"
    with replacing(home.config_path) as partial:
        partial.write_text(text + "\n", encoding="utf-8")
        pins = SiteConfig.load(partial).peers
        for card in (*offer.new, *offer.changed):
            if pins[card.name].key != card.key:
                raise ConfigError(
                    f"{home.config_path}: the section [peers.{card.name}] could not be replaced; "
                    "take it out, and join again"
                )
        write_whole(home.authority_path, kit.authority, private=True)
        write_whole(home.kit_path, json.dumps(plain(kit), indent=2), private=True)
    return offer


def kit_of(home: Path) -> Kit | None:
    """Returns the kit that the steward confirmed; None for a home that joined no federation."""
    path = Home(home).kit_path
    return Kit.load(path) if path.exists() else None


def check_coordinator(home: Home, plan: Plan) -> None:
    """Holds the coordinator that a plan names against the one of the federation.

    Raises:
      PolicyError: it is another.
    """
    kit = kit_of(home.path)
    if kit is None or plan.coordinator_key is None:
        return
    if plan.coordinator_key in kit.former_coordinator_keys:
        raise PolicyError(
            "the plan names the key that the coordinator had before its key changed, so it no "
            "longer runs; have the coordinator resolve the study again, and approve the new plan"
        )
    if plan.coordinator_key != kit.coordinator_key:
        raise PolicyError(
            f"the plan is of a coordinator with the key {fingerprint(plan.coordinator_key)}, the "
            f"kit with which this site joined names {fingerprint(kit.coordinator_key)}; ask the "
            "coordinator which is theirs"
        )


def no_longer_run(home: Home) -> dict[str, str]:
    """Returns why approved plans no longer run: they name keys that others are pinned for now.

    Returns:
      By the plan's digest, the reason, for the steward.
    """
    config, found = SiteConfig.load(home.config_path), {}
    for digest in read_ledger(home.path).open_plans:
        try:
            plan = Plan.load(home.plan_path(digest))
            check_coordinator(home, plan)
            check_peers(config.peers, plan, site=config.name)
        except FedloomError as error:
            found[digest] = str(error)
    return found
