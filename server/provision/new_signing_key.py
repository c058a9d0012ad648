"""A new signing key for a coordinator, which the old one has signed; safe against a crash.

The new key lies in `coordinator.key.next`, on disk, before the handover is written
(`fedloom.privacy.handover`); then it takes the old one's place. After a crash the handovers tell
whether the new key is the coordinator's: whatever opens the home next puts it in its place, or
deletes it. A run that was begun has its key in its own folder, and goes on under it.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from fedloom.common.files import sync_folder
from fedloom.common.holding import hold
from fedloom.privacy.handover import Handover, handovers_path, read_handovers, save_handovers
from fedloom.privacy.keys import generate_key, load_private_key, public_key_hex

__all__ = ["rotate_signing_key", "settle_signing_key"]


def rotate_signing_key(key: Path) -> Handover:
    """Makes a new key, has the old one hand on to it, and puts it in its place.

    Args:
      key: file of the coordinator's key.

    Raises:
      ConfigError: another process changes it, or it cannot be read.
    """
    with hold(_lock(key), "changes the coordinator's key; try again in a moment"):
        _put_in_place(key)
        new = generate_key(_next(key))
        sync_folder(key.parent)
        path = handovers_path(key)
        today = datetime.now(UTC).date().isoformat()
        handover = Handover.signed(load_private_key(key), new, day=today)
        save_handovers(path, [*read_handovers(path), handover])
        _put_in_place(key)
    return handover


def settle_signing_key(key: Path) -> None:
    """Ends a change of the key that was interrupted, or undoes it; else does nothing.

    Raises:
      ConfigError: another process changes it, or a key cannot be read.
    """
    if _next(key).exists():
        with hold(_lock(key), "changes the coordinator's key; try again in a moment"):
            _put_in_place(key)


def _put_in_place(key: Path) -> None:
    waiting = _next(key)
    if not waiting.exists():
        return
    handovers = read_handovers(handovers_path(key))
    named = handovers[-1].new if handovers else None
    if named is None or public_key_hex(load_private_key(key)) == named:
        waiting.unlink()
    else:
        load_private_key(waiting)  # half a key was never named; one that is named can be read
        os.replace(waiting, key)
    sync_folder(key.parent)


def _next(key: Path) -> Path:
    return key.with_name(key.name + ".next")


def _lock(key: Path) -> Path:
    return key.with_name("rotation.lock")
