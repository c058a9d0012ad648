"""The chain of a ledger: numbers, hashes, signatures, and the keys that hand it on.

A reader starts from the key of the first entry, or one that it knows otherwise, and takes another
only through an entry that says so (`fedloom.privacy.ledger.rotation`), signed by the key before
and countersigned by the new one.
"""

from __future__ import annotations

from collections.abc import Iterable

from fedloom.common.digest import sha256_hex
from fedloom.common.errors import ConfigError
from fedloom.common.signed_heads import entry_hash
from fedloom.privacy.keys import verify
from fedloom.privacy.ledger.entries import FIRST_PREV, Entry, damaged, signed_part
from fedloom.privacy.ledger.rotation import rotation_in

__all__ = ["verify_chain"]


def verify_chain(entries: Iterable[Entry], public_key: str) -> str:
    """Checks a whole chain, from the first entry on.

    Args:
      entries: all of them, in order.
      public_key: that signs the first entry.

    Returns:
      The key that signs the entry which comes next.

    Raises:
      LedgerError: names the first entry that is not what it must be.
    """
    prev, key, ledger = FIRST_PREV, public_key, ""
    for seq, entry in enumerate(entries):
        if entry.seq != seq:
            raise damaged(seq, f"is missing, the next one found is {entry.seq}")
        if entry.body is not None and sha256_hex(entry.body) != entry.body_sha256:
            raise damaged(seq, "does not have the body that was signed")
        if entry.prev != prev or entry.hash != entry_hash(seq, prev, entry.body_sha256):
            raise damaged(seq, "does not follow from the one before it")
        if not verify(key, signed_part(entry.hash), entry.signature):
            raise damaged(seq, "is not signed by the site's key")
        ledger = ledger or entry.hash
        key = _handed_on(entry, key, ledger)
        prev = entry.hash
    return key


def _handed_on(entry: Entry, key: str, ledger: str) -> str:
    """Returns the key in force after an entry that `key` has signed."""
    try:
        rotation = rotation_in(entry)
    except ConfigError as error:
        raise damaged(entry.seq, "names keys that are none") from error
    if rotation is None:
        return key
    if rotation.ledger != ledger:
        raise damaged(entry.seq, "changes the keys of another ledger")
    if rotation.old.key != key:
        raise damaged(entry.seq, "changes another key than the one in force")
    if not rotation.is_countersigned(seq=entry.seq, prev=entry.prev):
        raise damaged(entry.seq, "names a new key that has not countersigned it")
    return rotation.new.key
