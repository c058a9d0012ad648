"""A site's new keys, as an entry of its ledger: signed by the old key, countersigned by the new.

    key-rotated   site, ledger (hash of its first entry), old and new keys, countersignature

The entry itself bears the signature of the key that was in force, as every entry does; all later
ones bear the new key's. The countersignature shows that whoever holds the new key takes it over,
and covers the place in the chain, so that no such entry serves in another ledger. Whoever knows
one key of a site needs these entries alone to come to the site's present keys: a card carries
them.

A plan names the signing and exchange keys of its sites, so every approval must have ended before
one of them changes. Limits, losses and heads go on. The node's key stands in no plan.

What it does not show: that the old key was not stolen. Whoever holds it can hand it on as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta

from fedloom.common.digest import canonical_json, sha256_hex
from fedloom.common.errors import RefusedError, VerificationError
from fedloom.common.signed_heads import Nonce, Whole, entry_hash
from fedloom.common.study import SiteName
from fedloom.common.typed import PublicKey, Section, Sha256, plain, read_typed
from fedloom.privacy.keys import PrivateKey, sign, verify
from fedloom.privacy.ledger.entries import ROTATED, Body, Entry, signed_part
from fedloom.privacy.ledger.wording import short
from fedloom.privacy.node_key import NodePublicKey

__all__ = [
    "KeyRotation",
    "RotationEntry",
    "SiteKeys",
    "check_rotations",
    "follows",
    "rotation_in",
    "rotations_in",
]

_PURPOSE = b"fedloom rotation of a site's keys\n"
_MARK = f'"kind":"{ROTATED}"'.encode()


class SiteKeys(Section, frozen=True, kw_only=True, rename="kebab"):
    """Public keys of a site.

    Attributes:
      key: signs its ledger, its answers and its heads (Ed25519).
      exchange_key: masks its parts of secure sums (X25519).
      node_key: opens the coordinator's SuperLink to its node (P-384).
    """

    key: PublicKey
    exchange_key: PublicKey
    node_key: NodePublicKey


class KeyRotation(Section, frozen=True, kw_only=True):
    """What the entry says.

    Attributes:
      site: name of the site.
      ledger: hash of the first entry of the ledger that this is in.
      old: keys up to this entry, which `old.key` signs.
      new: keys from the next entry on; those that stay are equal.
      countersignature: by `new.key`.
    """

    site: SiteName
    ledger: Sha256
    old: SiteKeys
    new: SiteKeys
    countersignature: str = ""

    def countersigned(self, key: PrivateKey, *, seq: int, prev: str) -> KeyRotation:
        """Returns it with the countersignature of the new key, for a place in the chain."""
        return KeyRotation(
            site=self.site,
            ledger=self.ledger,
            old=self.old,
            new=self.new,
            countersignature=sign(key, self._bytes(seq, prev)),
        )

    def is_countersigned(self, *, seq: int, prev: str) -> bool:
        """Whether the holder of the new key took it over, at this place in the chain."""
        return verify(self.new.key, self._bytes(seq, prev), self.countersignature)

    def _bytes(self, seq: int, prev: str) -> bytes:
        body = [self.site, self.ledger, plain(self.old), plain(self.new), seq, prev]
        return _PURPOSE + canonical_json(body)


class _RotationBody(Section, frozen=True, kw_only=True):
    kind: Literal["key-rotated"]
    day: Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}\Z")]
    nonce: Nonce
    data: KeyRotation


class RotationEntry(Section, frozen=True, kw_only=True):
    """The entry by itself, out of its ledger: what a card and a kit carry.

    Attributes:
      seq: its number in the ledger.
      prev: hash of the entry before it.
      body: what it says.
      signature: by the old key.
    """

    seq: Whole
    prev: Sha256
    body: _RotationBody
    signature: str

    @classmethod
    def of(cls, entry: Entry) -> RotationEntry:
        """Returns a rotation's entry of a checked ledger in this form."""
        value = entry.to_dict()
        kept = {name: value[name] for name in ("seq", "prev", "body", "signature")}
        return read_typed(kept, cls, where="the ledger's entry")

    @property
    def rotation(self) -> KeyRotation:
        """What it says."""
        return self.body.data

    @property
    def holds(self) -> bool:
        """Whether the old key signed it and the new one countersigned it."""
        body_sha256 = sha256_hex(canonical_json(plain(self.body)))
        signed = signed_part(entry_hash(self.seq, self.prev, body_sha256))
        return verify(
            self.rotation.old.key, signed, self.signature
        ) and self.rotation.is_countersigned(seq=self.seq, prev=self.prev)


def rotation_in(entry: Entry) -> KeyRotation | None:
    """Returns what an entry says of new keys; None for every other entry and a hidden one.

    Raises:
      LedgerError: the body does not say what its kind must.
    """
    if entry.body is None or _MARK not in entry.body:
        return None
    body: Body = entry.read()
    if body.kind != ROTATED:
        return None
    return read_typed(body.data, KeyRotation, where=f"entry {entry.seq}")


def rotations_in(entries: Iterable[Entry]) -> tuple[RotationEntry, ...]:
    """Returns all rotations of a checked ledger, in order."""
    return tuple(RotationEntry.of(entry) for entry in entries if rotation_in(entry) is not None)


def check_change(
    data: Mapping[str, Any],
    *,
    site: str,
    signing_keys: Sequence[str],
    under_way: bool,
    approved: Sequence[str],
) -> None:
    """Checks that the ledger's rules allow a change of keys now.

    Args:
      data: of the entry.
      site: whose ledger it is.
      signing_keys: that have signed it so far; the last one is in force.
      under_way: whether a run is not finished.
      approved: plans of whose approval something is left.

    Raises:
      RefusedError: they do not.
    """
    old, new = data["old"], data["new"]
    if data["site"] != site or old["key"] != signing_keys[-1]:
        raise RefusedError("a change of keys is of this site, from the key that is in force")
    if old == new or new["key"] in signing_keys[:-1]:
        raise RefusedError("a change of keys brings a key that was not in force before")
    if under_way:
        raise RefusedError("a run is under way here; keys change once it is finished")
    named = old["key"] != new["key"] or old["exchange-key"] != new["exchange-key"]
    if named and approved:
        raise RefusedError(
            f"plan {short(approved[0])} is approved here and names the keys that are to change; "
            "revoke it first, and approve it again once it was resolved with the new keys"
        )


def check_rotations(entries: Sequence[RotationEntry], *, where: str) -> None:
    """Checks that entries hand one signing key on to the next, in one ledger, without a gap.

    Raises:
      VerificationError: one is not signed or not countersigned, or does not follow.
    """
    for number, entry in enumerate(entries):
        said, before = entry.rotation, entries[number - 1] if number else None
        if not entry.holds:
            raise VerificationError(
                f"{where}: change of keys {number + 1} is not signed by the old key and the new "
                "one; believe none of these keys, and ask the site's steward"
            )
        if before is not None and (
            before.rotation.new.key != said.old.key
            or before.rotation.ledger != said.ledger
            or before.rotation.site != said.site
            or before.seq >= entry.seq
        ):
            raise VerificationError(
                f"{where}: change of keys {number + 1} does not go on from the one before it; "
                "believe none of these keys, and ask the site's steward"
            )


def follows(entries: Sequence[RotationEntry], *, key: str, exchange_key: str) -> bool:
    """Whether checked rotations lead on from these keys to the last."""
    olds = [(entry.rotation.old.key, entry.rotation.old.exchange_key) for entry in entries]
    return (key, exchange_key) in olds
