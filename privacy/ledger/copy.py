"""A copy of a ledger at one moment, also while a vault writes it: what a backup holds.

The copy is whole by itself: checked, closed and sealed, with a head of its own. It grows old with
the next entry; that it is a copy, nothing in it says (`fedloom.common.signed_heads`).
"""

from __future__ import annotations

from pathlib import Path

from fedloom.common.digest import file_sha256
from fedloom.common.errors import ConfigError
from fedloom.privacy.ledger.entries import Entry
from fedloom.privacy.ledger.head import Head, ledger_path, publish_head, stage_head
from fedloom.privacy.ledger.loading import LoadedLedger
from fedloom.privacy.ledger.store import Store
from fedloom.privacy.ledger.view import settled

__all__ = ["copy_ledger"]


def copy_ledger(home: Path, folder: Path) -> Head:
    """Copies the ledger of a home into a folder that has none.

    Args:
      home: the home; nothing in it is changed.
      folder: gets `ledger.db` and `ledger.head`.

    Returns:
      The head of the copy.

    Raises:
      ConfigError: there is no ledger, or the folder has one.
      LedgerError: it is damaged.
    """
    if not ledger_path(home).is_file() or ledger_path(folder).exists():
        raise ConfigError(f"expected a ledger in {home} and none in {folder}")

    def copy(store: Store, loaded: LoadedLedger) -> Entry:
        store.copy_to(ledger_path(folder))
        return loaded.entries[-1]

    last = settled(home, copy)
    copied = Head(seq=last.seq, hash=last.hash, sealed=file_sha256(ledger_path(folder)))
    stage_head(folder, copied)
    publish_head(folder)
    return copied
