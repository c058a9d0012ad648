"""A site's card: its name and public keys, signed, in one file that a steward sends.

    fedloom site card --home clinic --out north.card.json

The signature proves that the sender holds the signing key, so a card can be damaged or changed
only together with its key. Whose key it is, no file can prove: people compare fingerprints. But
the card of a site whose keys have changed carries the entries of its ledger that say so: whoever
knew it before needs no second comparison (`fedloom.privacy.ledger.rotation`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import msgspec

from fedloom.common.digest import canonical_json, sha256_hex
from fedloom.common.errors import ConfigError, VerificationError
from fedloom.common.strict_json import read_json
from fedloom.common.study import SiteName
from fedloom.common.typed import PublicKey, Section, plain, read_typed
from fedloom.privacy.keys import PrivateKey, public_key_hex, sign, verify
from fedloom.privacy.ledger.rotation import RotationEntry, check_rotations, follows
from fedloom.privacy.node_key import NodePublicKey, node_key_pem

__all__ = ["SiteCard", "read_document", "short_digest"]

_PREFIX = b"fedloom site card v1\n"
_SHORT = 24


class SiteCard(Section, frozen=True, kw_only=True, rename="kebab"):
    """Public keys of one site.

    Attributes:
      name: the site's name in studies.
      key: signs its answers, its ledger and its receipts (Ed25519).
      exchange_key: masks its parts of secure sums (X25519).
      node_key: opens the coordinator's SuperLink to its node (P-384).
      rotations: how it came to these keys, since its ledger began.
      signature: of all this, by `key`.
    """

    kind: Literal["fedloom-site-card"] = "fedloom-site-card"
    name: SiteName
    key: PublicKey
    exchange_key: PublicKey
    node_key: NodePublicKey
    rotations: tuple[RotationEntry, ...] = ()
    signature: str = ""

    @classmethod
    def signed(
        cls,
        *,
        name: str,
        key: PrivateKey,
        exchange_key: str,
        node_key: str,
        rotations: tuple[RotationEntry, ...] = (),
    ) -> SiteCard:
        """Returns the card of the holder of `key`."""
        bare = cls(
            name=name,
            key=public_key_hex(key),
            exchange_key=exchange_key,
            node_key=node_key,
            rotations=rotations,
        )
        return msgspec.structs.replace(bare, signature=sign(key, bare.signed_bytes()))

    @classmethod
    def load(cls, path: Path) -> SiteCard:
        """Reads a card.

        Raises:
          ConfigError: it cannot be read.
          VerificationError: its signature does not hold.
        """
        card = read_typed(read_document(path, "a site's card"), cls, where=f"{path}:")
        card.check(str(path))
        return card

    def check(self, where: str) -> None:
        """Holds the signature, the node's key, and how the site came to its keys.

        Raises:
          VerificationError: the signature does not hold, or a change of keys is not proven.
          ConfigError: the node's key is none.
        """
        if not verify(self.key, self.signed_bytes(), self.signature):
            raise VerificationError(
                f"{where}: the card of {self.name!r} is damaged or was changed: its signature does "
                "not hold; have its steward send it again"
            )
        node_key_pem(self.node_key)
        check_rotations(self.rotations, where=where)
        if not self.rotations:
            return
        last = self.rotations[-1].rotation
        if (last.site, last.new.key, last.new.exchange_key) != (
            self.name,
            self.key,
            self.exchange_key,
        ):
            raise VerificationError(
                f"{where}: the changes of keys that the card of {self.name!r} shows do not lead to "
                "its keys; have its steward send what `fedloom site card` writes now"
            )

    def follows(self, *, key: str, exchange_key: str) -> bool:
        """Whether the site has handed these earlier keys on to those of the card."""
        return follows(self.rotations, key=key, exchange_key=exchange_key)

    def goes_on_from(self, known: SiteCard) -> bool:
        """Whether the site has handed the keys of its earlier card on to those of this one."""
        before, now = known.rotations, self.rotations
        if len(now) <= len(before) or now[: len(before)] != before:
            return False
        return self.name == known.name and now[len(before)].rotation.old.key == known.key

    @property
    def former_keys(self) -> tuple[str, ...]:
        """Earlier signing keys, in order, as the changes of keys prove them."""
        olds = dict.fromkeys(entry.rotation.old.key for entry in self.rotations)
        return tuple(key for key in olds if key != self.key)

    def signed_bytes(self) -> bytes:
        """Returns what the signature is about."""
        return _PREFIX + canonical_json(plain(msgspec.structs.replace(self, signature="")))

    def fingerprint(self) -> str:
        """Returns a short name of the card's three keys that people can compare."""
        return short_digest(self.signed_bytes())

    def save(self, path: Path) -> None:
        """Writes the card."""
        path.write_text(json.dumps(plain(self), indent=2) + "\n", encoding="utf-8")


def short_digest(data: bytes) -> str:
    """Returns 96 bits of a SHA-256 in six groups of four digits, to be read out.

    >>> short_digest(b"")
    'e3b0 c442 98fc 1c14 9afb f4c8'
    """
    text = sha256_hex(data)[:_SHORT]
    return " ".join(text[i : i + 4] for i in range(0, _SHORT, 4))


def read_document(path: Path, what: str) -> object:
    """Reads a JSON file that somebody sent.

    Args:
      path: of the file.
      what: it must be, for messages.

    Raises:
      ConfigError: there is none, or it is no JSON.
    """
    if not path.is_file():
        raise ConfigError(f"{path} must be {what}, and there is no such file; check the path")
    try:
        return read_json(path)
    except VerificationError as error:
        raise ConfigError(
            f"{path} must be {what}, and is damaged or something else; have it sent again"
        ) from error
