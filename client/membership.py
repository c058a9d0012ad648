"""A site's place in a federation: the kit that its steward confirmed, and what follows from it.

    kit.json             the confirmed kit, in the home
    authority.crt        certificate of the authority behind the coordinator's server

Joining writes a pin for every other site into `site.toml` (`fedloom.client.peers`). A pin that is
there already is never changed: whose key changed, only that site's steward can say.
"""

from __future__ import annotations

import json
from pathlib import Path

from fedloom.client.home import Home
from fedloom.client.peers import Peer
from fedloom.client.site_config import SiteConfig
from fedloom.common.errors import PolicyError
from fedloom.common.files import replacing, write_whole
from fedloom.common.typed import plain
from fedloom.privacy.card import SiteCard
from fedloom.privacy.keys import fingerprint
from fedloom.privacy.kit import Kit
from fedloom.privacy.ledger import read_ledger
from fedloom.privacy.node_key import load_node_key, node_key_hex
from fedloom.privacy.plan import Plan

__all__ = ["check_coordinator", "check_kit", "join", "kit_of", "own_card"]


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


def check_kit(home: Home, kit: Kit) -> list[SiteCard]:
    """Holds a kit against the home; returns the cards of sites that are not pinned yet.

    Raises:
      PolicyError: the kit has other keys for this site than the home's, or for another site than
        `site.toml` pins.
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
    new = []
    for card in kit.sites:
        pinned = config.peers.get(card.name)
        if card.name == own.name:
            continue
        if pinned is None:
            new.append(card)
        elif pinned != Peer(key=card.key, exchange_key=card.exchange_key):
            raise PolicyError(
                f"the kit has other keys for {card.name!r} than site.toml pins; ask the steward of "
                f"{card.name!r}, and not through the coordinator: if its keys changed, take "
                f"[peers.{card.name}] out of site.toml and join again"
            )
    return new


def join(home: Home, kit: Kit) -> list[str]:
    """Keeps a kit that the steward confirmed; returns the names of sites that were pinned.

    Raises:
      PolicyError, ConfigError: as `check_kit` says; nothing is written then.
    """
    new = check_kit(home, kit)
    text = home.config_path.read_text(encoding="utf-8").rstrip("\n")
    for card in new:
        text += (
            f"\n\n[peers.{json.dumps(card.name)}]  # joined as {card.fingerprint()}\n"
            f'key = "{card.key}"\nexchange-key = "{card.exchange_key}"'
        )
    with replacing(home.config_path) as partial:
        partial.write_text(text + "\n", encoding="utf-8")
        SiteConfig.load(partial)
        write_whole(home.authority_path, kit.authority, private=True)
        write_whole(home.kit_path, json.dumps(plain(kit), indent=2), private=True)
    return [card.name for card in new]


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
    if plan.coordinator_key != kit.coordinator_key:
        raise PolicyError(
            f"the plan is of a coordinator with the key {fingerprint(plan.coordinator_key)}, the "
            f"kit with which this site joined names {fingerprint(kit.coordinator_key)}; ask the "
            "coordinator which is theirs"
        )
