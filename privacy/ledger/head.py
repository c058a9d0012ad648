"""The files beside a ledger: the lock that admits one writer, and the head that finds a cut tail.

`ledger.head` names the last entry. It is replaced atomically, after the entry itself is on disk:
a crash between the two leaves a chain that is longer than the head says, which is repaired; a
chain that is shorter has lost its tail. When a writer closes, the head also carries the SHA-256
of the whole database file (`sealed`), so that any byte changed in a closed ledger is found.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

from fedloom.common.digest import canonical_json
from fedloom.common.errors import ConfigError, HomeInUseError, LedgerError

__all__ = ["Head", "HomeLock", "ledger_path", "publish_head", "read_head", "stage_head"]

_PATIENCE_S = 2.0
_PAUSE_S = 0.02


def ledger_path(home: Path) -> Path:
    """Returns where the ledger of a home lies."""
    return home / "ledger.db"


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The last entry of a ledger, and the hash of the closed file."""

    seq: int
    hash: str
    sealed: str | None


def read_head(home: Path) -> Head:
    """Reads the head of a home.

    Raises:
      LedgerError: the file is missing or is not a head.
    """
    path = home / "ledger.head"
    try:
        found = path.read_bytes()
        value = json.loads(found)
        head = Head(seq=value["seq"], hash=value["hash"], sealed=value["sealed"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LedgerError(
            f"{path} is missing or damaged, so a cut ledger could not be told from a whole one; "
            "put the newest backup of the home back with `fedloom site restore`"
        ) from error
    if found != _head_bytes(head):
        raise LedgerError(f"{path} is damaged; restore the whole home from a backup")
    return head


def stage_head(home: Path, head: Head) -> None:
    """Writes a coming head beside the present one and waits until it is on disk."""
    descriptor = os.open(_staged(home), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(_head_bytes(head))
        stream.flush()
        os.fsync(stream.fileno())


def publish_head(home: Path) -> None:
    """Puts the staged head in the place of the present one."""
    os.replace(_staged(home), home / "ledger.head")
    descriptor = os.open(home, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _staged(home: Path) -> Path:
    return home / "ledger.head.new"


def _head_bytes(head: Head) -> bytes:
    return canonical_json({"seq": head.seq, "hash": head.hash, "sealed": head.sealed})


class HomeLock:
    """An advisory lock on a home: one writer, or readers of a ledger that nobody writes."""

    def __init__(self, descriptor: int) -> None:
        """Takes over an open descriptor that holds the lock."""
        self._descriptor = descriptor

    @classmethod
    def for_writer(cls, home: Path) -> HomeLock:
        """Takes the lock for the life of a writer; waits a moment for readers to pass.

        Raises:
          HomeInUseError: another writer holds it.
        """
        try:
            descriptor = os.open(home / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise ConfigError(
                f"cannot lock the home {home}: {error.strerror}; it must be a folder that this "
                "user can write"
            ) from error
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return cls(descriptor)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    os.close(descriptor)
                    raise HomeInUseError(
                        f"the home {home} is in use by another process (a vault that serves it, "
                        "or a simulation); end that process and try again, or use another home. "
                        "`fedloom budget show` and `fedloom ledger verify` work meanwhile"
                    ) from None
            time.sleep(_PAUSE_S)

    @classmethod
    def for_reader(cls, home: Path) -> HomeLock | None:
        """Keeps writers out for the moment of reading; None if a writer is at work."""
        try:
            descriptor = os.open(home / "lock", os.O_RDONLY)
        except FileNotFoundError:
            return cls(-1)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return cls(descriptor)

    def release(self) -> None:
        """Gives the lock back; a second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
