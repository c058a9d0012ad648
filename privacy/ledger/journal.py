"""A home's chain of entries on disk: one writer, each entry durable before `append` returns.

The journal knows files, hashes and signatures; what entries mean is the business of `State`.
If the disk does not take an entry, nothing was written and the journal goes on; if that cannot
be told, the journal refuses all further work until it is opened again, which finds out.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from fedloom.common.digest import file_sha256
from fedloom.common.errors import ConfigError, DiskFullError, IncompleteError, LedgerError
from fedloom.common.files import NOTHING_LOST, disk_is_full
from fedloom.privacy.keys import PrivateKey, public_key_hex
from fedloom.privacy.ledger.entries import FIRST_PREV, Entry, new_entry
from fedloom.privacy.ledger.head import (
    Head,
    HomeLock,
    ledger_path,
    publish_head,
    read_head,
    stage_head,
)
from fedloom.privacy.ledger.loading import check_seal, load, sqlite_errors
from fedloom.privacy.ledger.seen_heads import SeenHeads
from fedloom.privacy.ledger.state import State
from fedloom.privacy.ledger.store import AnswerKey, Arrays, Store, StoredAnswer

__all__ = ["Journal"]


class Journal:
    """The open files of a home's ledger, held by this process alone."""

    def __init__(
        self,
        home: Path,
        key: PrivateKey,
        lock: HomeLock,
        store: Store,
        entries: list[Entry],
        seen: SeenHeads,
    ) -> None:
        """Takes over what `create` and `open` have prepared."""
        self.home = home
        self.entries = entries
        self.seen = seen
        self._key, self._lock, self._store = key, lock, store
        self._failed = False
        self._closed = False

    @classmethod
    def create(cls, home: Path, key: PrivateKey, genesis: dict[str, Any]) -> Journal:
        """Makes the files of a new home and writes the genesis entry.

        Raises:
          ConfigError: the home has a ledger.
          HomeInUseError: another process holds the home.
        """
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = HomeLock.for_writer(home)
        try:
            if (home / "ledger.head").exists():
                raise FileExistsError
            with sqlite_errors(home):
                store = Store.create(ledger_path(home))
        except FileExistsError:
            lock.release()
            raise ConfigError(
                f"{home} has a ledger already; a ledger is never replaced, because what it "
                "records was spent. Open it, or use another home for other people's records"
            ) from None
        except BaseException:
            lock.release()
            raise
        journal = cls(home, key, lock, store, [], SeenHeads({}))
        try:
            journal.append("genesis", genesis)
        except BaseException:
            journal.close()
            for path in home.glob("ledger.*"):
                path.unlink()
            raise
        return journal

    @classmethod
    def open(cls, home: Path, key: PrivateKey) -> tuple[Journal, State]:
        """Opens the files of a home after checking everything in them.

        Raises:
          LedgerError: damaged, cut, replaced by an older copy, or signed with another key.
          HomeInUseError: another process holds the home.
        """
        if not home.is_dir():
            raise ConfigError(f"there is no home at {home}; `fedloom site init` makes one")
        lock = HomeLock.for_writer(home)
        try:
            head = read_head(home)
            check_seal(home, head)
            with sqlite_errors(home):
                store = Store.open(ledger_path(home))
                try:
                    loaded = load(store, head, home)
                    if loaded.state.signing_keys[-1] != public_key_hex(key):
                        raise LedgerError(
                            f"the ledger of {home} is signed with another key than the one given; "
                            "restore key and ledger from the same backup"
                        )
                    journal = cls(home, key, lock, store, loaded.entries, loaded.seen)
                    journal._write_head(sealed=None)
                except BaseException:
                    store.close()
                    raise
        except BaseException:
            lock.release()
            raise
        return journal, loaded.state

    def check_usable(self) -> None:
        """Raises `IncompleteError` if the journal is closed or its last write is in doubt."""
        if self._closed or self._failed:
            raise IncompleteError(
                f"the ledger of {self.home} is closed; open it again and run the same once more"
            )

    def append(
        self,
        kind: str,
        data: dict[str, Any],
        *,
        answer: StoredAnswer | None = None,
        forget: tuple[str, str] | None = None,
        seen: SeenHeads | None = None,
    ) -> None:
        """Writes the next entry, and what belongs to it, in one transaction.

        Args:
          kind: what the entry is.
          data: what it says.
          answer: stored with the entry.
          forget: plan and run whose stored answers are erased with it.
          seen: heads of fellow sites, all that are remembered from now on.

        Raises:
          IncompleteError: the disk did not take it; the message says whether it is in doubt.
        """
        self.check_usable()
        seq = len(self.entries)
        prev = self.entries[-1].hash if self.entries else FIRST_PREV
        entry = new_entry(self._key, seq, prev, kind, data)
        try:
            with self._store.transaction():
                self._store.append(entry, answer, forget, self._changed(seen))
                stage_head(self.home, Head(seq=seq, hash=entry.hash, sealed=None))
            publish_head(self.home)
        except (sqlite3.Error, OSError) as error:
            raise self._not_written(entry, error) from error
        except BaseException:
            self._failed = True
            raise
        self.entries.append(entry)
        if seen is not None:
            self.seen = seen
        if forget is not None:
            with suppress(sqlite3.Error):  # the answers are gone; only their trace in the log stays
                self._store.checkpoint()

    def hand_on(self, key: PrivateKey) -> None:
        """Signs all further entries with another key, which the last entry has named."""
        self._key = key

    def remember(self, seen: SeenHeads) -> None:
        """Writes what was seen of fellow sites, where no entry is written with it.

        Raises:
          IncompleteError: the disk did not take it.
        """
        self.check_usable()
        try:
            with self._store.transaction():
                self._store.remember(self._changed(seen))
        except sqlite3.Error as error:
            raise IncompleteError(
                f"the ledger of {self.home} could not note what it saw of other sites ({error}); "
                "see that the home can be written, and run the same again"
            ) from error
        self.seen = seen

    def _changed(self, seen: SeenHeads | None) -> dict[tuple[str, str], bytes]:
        """Returns the rows that are not in the file yet."""
        if seen is None:
            return {}
        held = self.seen.rows()
        return {run: heads for run, heads in seen.rows().items() if held.get(run) != heads}

    def answer(self, key: AnswerKey) -> Arrays | None:
        """Returns a stored answer, if there is one."""
        self.check_usable()
        return self._store.answer(key)

    def close(self) -> None:
        """Closes and seals the files and gives up the home; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        try:
            self._quietly(self._store.checkpoint)
            self._store.close()
            log = Path(f"{ledger_path(self.home)}-wal")
            whole = not log.exists() or log.stat().st_size == 0
            if whole and self.entries and not self._failed:
                sealed = file_sha256(ledger_path(self.home))
                self._quietly(lambda: self._write_head(sealed=sealed))
        finally:
            self._lock.release()

    @staticmethod
    def _quietly(act: Callable[[], None]) -> None:
        """Without it the ledger is whole, only unsealed: the next opening checks the chain."""
        with suppress(sqlite3.Error, OSError):
            act()

    def _not_written(self, entry: Entry, error: Exception) -> IncompleteError:
        try:
            self._failed = self._store.last_seq() != entry.seq - 1
        except sqlite3.Error:
            self._failed = True
        fate = (
            "whether it was written is found out when the ledger is opened again"
            if self._failed
            else "nothing was written, and the ledger is as it was"
        )
        text = f"the ledger of {self.home} could not take entry {entry.seq} ({error}); {fate}"
        if disk_is_full(error):
            return DiskFullError(f"the disk is full: {text}; {NOTHING_LOST}")
        return IncompleteError(f"{text}. See that the home can be written, and run the same again")

    def _write_head(self, *, sealed: str | None) -> None:
        last = self.entries[-1]
        stage_head(self.home, Head(seq=last.seq, hash=last.hash, sealed=sealed))
        publish_head(self.home)
