"""Reading a ledger: everything is checked before anything in it is believed.

`load` is the one way in, for the writer and for views: pages, tables, chain, signatures, the
rules of the ledger, the head, and the stored answers against what was committed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fedloom.common.digest import file_sha256
from fedloom.common.errors import ConfigError, DiskFullError, LedgerError
from fedloom.common.files import NOTHING_LOST, disk_is_full
from fedloom.common.messages import arrays_digest
from fedloom.privacy.ledger.chain import verify_chain
from fedloom.privacy.ledger.entries import Entry
from fedloom.privacy.ledger.head import Head, ledger_path
from fedloom.privacy.ledger.seen_heads import SeenHeads
from fedloom.privacy.ledger.state import State, replay
from fedloom.privacy.ledger.store import Store

__all__ = ["LoadedLedger", "check_seal", "load", "sqlite_errors"]

_NO_RIGHTS = ("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_PERM")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedLedger:
    """A ledger that has passed every check."""

    entries: list[Entry]
    state: State
    seen: SeenHeads


def load(store: Store, head: Head, home: Path) -> LoadedLedger:
    """Reads and checks a whole ledger.

    Raises:
      LedgerError: says which entry is wrong, and what to do.
    """
    store.check_file()
    entries = store.entries()
    if not entries:
        raise LedgerError(
            f"the ledger of {home} is empty: its making was interrupted, or its tail is cut; "
            "make the home anew, unless anything was ever answered from it"
        )
    genesis = entries[0].read()
    verify_chain(entries, str(genesis.data.get("public_key", "")))
    state = replay(entries)
    _check_head(entries, head, home)
    _check_answers(store, state)
    return LoadedLedger(entries=entries, state=state, seen=SeenHeads.of_rows(store.seen()))


def check_seal(home: Path, head: Head) -> None:
    """Checks the file of a closed ledger, byte for byte.

    Raises:
      LedgerError: the file is missing, or is not the one that was closed.
    """
    path = ledger_path(home)
    if not path.is_file():
        raise LedgerError(
            f"{path} is missing; restore the whole home from a backup that is not older than its "
            "last answer. A home without its ledger answers nothing"
        )
    log = path.with_name(path.name + "-wal")
    if head.sealed is None:
        return
    if (log.exists() and log.stat().st_size > 0) or file_sha256(path) != head.sealed:
        raise LedgerError(
            f"{path} was changed after it was closed at entry {head.seq}: a byte was altered, its "
            "tail was cut, or another copy was put in its place; put the newest backup "
            "of the home back with `fedloom site restore`"
        )


@contextmanager
def sqlite_errors(home: Path) -> Iterator[None]:
    """Turns what SQLite says about a file into an error that names the right remedy.

    Raises:
      DiskFullError: the disk is full; the ledger is as it was.
      ConfigError: the file may not be opened by this user.
      LedgerError: the file cannot be read as a ledger.
    """
    try:
        yield
    except (sqlite3.Error, OSError, OverflowError, UnicodeDecodeError) as error:
        if disk_is_full(error):
            raise DiskFullError(
                f"the disk is full: {ledger_path(home)} could not be opened ({error}); "
                f"{NOTHING_LOST}"
            ) from error
        if getattr(error, "sqlite_errorname", "").startswith(_NO_RIGHTS):
            raise ConfigError(
                f"{ledger_path(home)} cannot be opened ({error}); run as the user who made the "
                "home, who must be able to write in it"
            ) from error
        if isinstance(error, OSError):
            raise
        raise LedgerError(
            f"{ledger_path(home)} cannot be read as a ledger ({error}); put the newest backup of "
            "the home back with `fedloom site restore`"
        ) from error


def _check_head(entries: list[Entry], head: Head, home: Path) -> None:
    if head.seq >= len(entries):
        raise LedgerError(
            f"the ledger of {home} ends at entry {len(entries) - 1}, and its head says that entry "
            f"{head.seq} was written: the tail is cut, or an older copy was put in its place; "
            "put the newest backup of the home back with `fedloom site restore`"
        )
    if head.seq < 0 or entries[head.seq].hash != head.hash:
        raise LedgerError(
            f"entry {head.seq} of the ledger of {home} is not the one that its head names; "
            "ledger.db and ledger.head belong to different histories: restore them together"
        )


def _check_answers(store: Store, state: State) -> None:
    expected = {
        (r.plan, r.run, a.round, a.attempt): a
        for r in state.reservations.values()
        if not r.finished
        for a in r.attempts.values()
        if a.answer_digest is not None
    }
    for stored in store.answers():
        attempt = expected.pop(stored.key, None)
        if (
            attempt is None
            or attempt.request_digest != stored.request_digest
            or attempt.answer_digest != arrays_digest(stored.arrays)
        ):
            raise LedgerError(
                f"the stored answer to round {stored.key[2]}, attempt {stored.key[3]} is not the "
                "one that was committed; restore the whole home from a backup"
            )
    if expected:
        plan, run, round_number, attempt_number = next(iter(expected))
        raise LedgerError(
            f"the answer to round {round_number}, attempt {attempt_number} of run {run} was "
            "committed and is not stored; restore the whole home from a backup"
        )
