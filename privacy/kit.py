"""The kit: what a coordinator sends to every institution of a federation, the same file to all.

It holds no secret: the SuperLink's address, the certificate of the authority behind it, the
coordinator's key, and the cards of all sites. A coordinator that wants to read one site's part of
a sum would put cards of its own making into that site's kit. So the stewards compare one
fingerprint, the kit's, among themselves: each finds its own true card in the kit that it was sent,
so if all kits are the same, all cards in them are true.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from fedloom.common.digest import canonical_json
from fedloom.common.errors import ConfigError, VerificationError
from fedloom.common.typed import Line, PublicKey, Section, plain, read_typed
from fedloom.privacy.card import SiteCard, read_document, short_digest
from fedloom.privacy.handover import Handover, chained_keys, check_handovers

__all__ = ["Kit"]

_PREFIX = b"fedloom kit v1\n"


class Kit(Section, frozen=True, kw_only=True, rename="kebab"):
    """What a site needs to know to take part.

    Attributes:
      address: HOST:PORT at which nodes reach the coordinator.
      coordinator_key: signs requests and releases (Ed25519).
      coordinator_handovers: how earlier keys of the coordinator have handed on to it.
      authority: certificate that stands behind the server's, PEM.
      policy: rules for `[policy]` that the coordinator proposes; stewards decide.
      sites: cards of all sites, in the order of their names.
    """

    kind: Literal["fedloom-kit"] = "fedloom-kit"
    address: Line
    coordinator_key: PublicKey
    coordinator_handovers: tuple[Handover, ...] = ()
    authority: str
    policy: str = ""
    sites: list[SiteCard]

    @classmethod
    def load(cls, path: Path) -> Kit:
        """Reads a kit.

        Raises:
          ConfigError: it cannot be read, or names a site or a key twice.
          VerificationError: a card's signature does not hold, or a change of a key.
        """
        kit = read_typed(read_document(path, "a kit"), cls, where=f"{path}:")
        for card in kit.sites:
            card.check(str(path))
        check_handovers(kit.coordinator_handovers, where=str(path))
        if kit.coordinator_handovers and kit.coordinator_handovers[-1].new != kit.coordinator_key:
            raise VerificationError(
                f"{path}: the coordinator's earlier keys do not lead to its key; have the kit sent "
                "again"
            )
        for what in ("name", "key", "exchange_key", "node_key"):
            values = [getattr(card, what) for card in kit.sites]
            if len(set(values)) < len(values):
                raise ConfigError(
                    f"{path}: two cards have the same {what.replace('_', '-')}; each site has its "
                    "own; have the coordinator invite every site once"
                )
        return kit

    @property
    def former_coordinator_keys(self) -> tuple[str, ...]:
        """Keys that the coordinator had before, in order."""
        return chained_keys(self.coordinator_handovers)[:-1]

    def fingerprint(self) -> str:
        """Returns a short name of the whole kit that stewards compare."""
        return short_digest(_PREFIX + canonical_json(plain(self)))

    def card(self, name: str) -> SiteCard:
        """Returns the card of a site.

        Raises:
          ConfigError: the kit has none.
        """
        for card in self.sites:
            if card.name == name:
                return card
        raise ConfigError(
            f"the kit has no card of {name!r}; it is for {', '.join(c.name for c in self.sites)}; "
            "send the coordinator what `fedloom site card` writes, and join with the kit that "
            "comes back"
        )

    def save(self, path: Path) -> None:
        """Writes the kit."""
        path.write_text(json.dumps(plain(self), indent=2) + "\n", encoding="utf-8")
