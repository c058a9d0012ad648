"""The ledger's SQLite file: append-only entries, and the answers that may have to be sent again.

Beside them it holds how far the ledgers of fellow sites were seen to have come (`seen_heads`).

Every append is one transaction with `synchronous=FULL`: an entry, with the answer that it commits
or without the answers that it ends, is on disk as a whole or not at all. Triggers keep entries
from being changed or deleted by mistake; hashes, signatures and the head find what was done on
purpose. Deleted answers are overwritten (`secure_delete`).
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from fedloom.common.digest import sha256_hex
from fedloom.common.errors import LedgerError
from fedloom.privacy.ledger.entries import Entry
from fedloom.privacy.ledger.head import ledger_path

__all__ = ["AnswerKey", "Arrays", "StoredAnswer", "Store", "UnsettledError", "open_to_read"]

_APPLICATION_ID = 0x4645444C
_SCHEMA = (
    "CREATE TABLE entries (seq INTEGER PRIMARY KEY, prev_hash TEXT NOT NULL, body BLOB NOT NULL, "
    "entry_hash TEXT NOT NULL, signature TEXT NOT NULL)",
    "CREATE TABLE answers (plan TEXT NOT NULL, run TEXT NOT NULL, round INTEGER NOT NULL, "
    "attempt INTEGER NOT NULL, request_digest TEXT NOT NULL, answer BLOB NOT NULL, "
    "PRIMARY KEY (plan, run, round, attempt))",
    "CREATE TABLE seen (plan TEXT NOT NULL, run TEXT NOT NULL, heads BLOB NOT NULL, "
    "PRIMARY KEY (plan, run))",
    "CREATE TRIGGER entries_are_not_changed BEFORE UPDATE ON entries "
    "BEGIN SELECT RAISE(ABORT, 'entries are append-only'); END",
    "CREATE TRIGGER entries_are_not_deleted BEFORE DELETE ON entries "
    "BEGIN SELECT RAISE(ABORT, 'entries are append-only'); END",
)

AnswerKey = tuple[str, str, int, int]
"""Plan, run, round, attempt."""
Arrays = dict[str, np.ndarray[Any, np.dtype[Any]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAnswer:
    """An answer as it was committed."""

    key: AnswerKey
    request_digest: str
    arrays: Arrays


class UnsettledError(Exception):
    """A writer is just opening or closing the file; ask again in a moment."""


class Store:
    """One open connection; knows tables, not what they mean."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Takes over an open connection."""
        self._connection = connection

    @classmethod
    def create(cls, path: Path) -> Store:
        """Makes an empty file with mode 0600; FileExistsError if there is one."""
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        connection = _connect(path.absolute().as_uri() + "?mode=rw")
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute(f"PRAGMA application_id={_APPLICATION_ID}")
            with connection:
                for statement in _SCHEMA:
                    connection.execute(statement)
            return cls._for_writing(connection)
        except BaseException:  # half a file would pass for a ledger that lost its tail
            connection.close()
            for left in path.parent.glob(f"{path.name}*"):
                left.unlink()
            raise

    @classmethod
    def open(cls, path: Path) -> Store:
        """Opens an existing file for writing."""
        return cls._for_writing(_connect(path.absolute().as_uri() + "?mode=rw"))

    @classmethod
    def _for_writing(cls, connection: sqlite3.Connection) -> Store:
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA secure_delete=ON")
        return cls(connection)

    def check_file(self) -> None:
        """Checks the file itself: its pages, and that it has the ledger's tables and no others.

        Raises:
          LedgerError: says what SQLite found.
        """
        found = self._connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if found != "ok":
            raise LedgerError(f"SQLite finds the ledger damaged: {found}")
        application = self._connection.execute("PRAGMA application_id").fetchone()[0]
        query = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL"
        statements = {row[0] for row in self._connection.execute(query)}
        if application != _APPLICATION_ID or statements != set(_SCHEMA):
            raise LedgerError("the file does not have the tables of a fedloom ledger")

    def entries(self) -> list[Entry]:
        """Returns all entries in order, unchecked."""
        query = "SELECT seq, prev_hash, body, entry_hash, signature FROM entries ORDER BY seq"
        entries = []
        for seq, prev, body, entry_hash, signature in self._connection.execute(query):
            if not isinstance(body, bytes):
                raise LedgerError(f"entry {seq} does not have a body of bytes")
            entries.append(
                Entry(
                    seq=seq,
                    prev=prev,
                    body=body,
                    body_sha256=sha256_hex(body),
                    hash=entry_hash,
                    signature=signature,
                )
            )
        return entries

    def last_seq(self) -> int:
        """Returns the number of the last entry, -1 if there is none."""
        seq = self._connection.execute("SELECT max(seq) FROM entries").fetchone()[0]
        return -1 if seq is None else int(seq)

    def append(
        self,
        entry: Entry,
        answer: StoredAnswer | None,
        forget: tuple[str, str] | None,
        seen: Mapping[tuple[str, str], bytes],
    ) -> None:
        """Adds an entry inside the present transaction.

        Args:
          entry: the entry.
          answer: stored with it, if any.
          forget: plan and run whose answers and seen heads are deleted with it, if any.
          seen: heads of fellow sites that were seen, by run.
        """
        self._connection.execute(
            "INSERT INTO entries VALUES (?, ?, ?, ?, ?)",
            (entry.seq, entry.prev, entry.body, entry.hash, entry.signature),
        )
        if answer is not None:
            self._connection.execute(
                "INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?)",
                (*answer.key, answer.request_digest, _packed(answer.arrays)),
            )
        if forget is not None:
            for table in ("answers", "seen"):
                self._connection.execute(
                    f"DELETE FROM {table} WHERE plan = ? AND run = ?",  # noqa: S608
                    forget,
                )
        self.remember(seen)

    def remember(self, seen: Mapping[tuple[str, str], bytes]) -> None:
        """Writes heads of fellow sites that were seen, by run, inside the present transaction."""
        for run, heads in seen.items():
            self._connection.execute("INSERT OR REPLACE INTO seen VALUES (?, ?, ?)", (*run, heads))

    def seen(self) -> dict[tuple[str, str], bytes]:
        """Returns the heads of fellow sites that were seen, by run, unread."""
        rows = self._connection.execute("SELECT plan, run, heads FROM seen")
        return {(plan, run): heads for plan, run, heads in rows}

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commits what is done inside, or undoes it if anything is raised."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def answer(self, key: AnswerKey) -> Arrays | None:
        """Returns the stored answer, if there is one; LedgerError if it is damaged."""
        row = self._connection.execute(
            "SELECT answer FROM answers WHERE plan = ? AND run = ? AND round = ? AND attempt = ?",
            key,
        ).fetchone()
        return None if row is None else _unpacked(row[0])

    def answers(self) -> Iterator[StoredAnswer]:
        """Yields all stored answers, one at a time; LedgerError at one that is damaged."""
        for *key, request_digest, answer in self._connection.execute("SELECT * FROM answers"):
            plan, run, round_number, attempt = key
            yield StoredAnswer(
                key=(plan, run, round_number, attempt),
                request_digest=request_digest,
                arrays=_unpacked(answer),
            )

    def copy_to(self, path: Path) -> None:
        """Writes a whole copy into a new file of mode 0600; FileExistsError if there is one."""
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        copy = sqlite3.connect(path)
        try:
            self._connection.backup(copy)
        finally:
            copy.close()

    def checkpoint(self) -> None:
        """Moves the write-ahead log into the file and empties it, unless a reader is in the way."""
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()


def _packed(arrays: Arrays) -> bytes:
    return safetensors.numpy.save(
        {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    )


def _unpacked(data: Any) -> Arrays:
    try:
        return safetensors.numpy.load(data)
    except (TypeError, ValueError, safetensors.SafetensorError) as error:
        raise LedgerError(
            "a stored answer is damaged; restore the whole home from a backup that is not older "
            "than its last answer"
        ) from error


@contextmanager
def open_to_read(home: Path, *, writer_at_work: bool) -> Iterator[Store]:
    """Opens a home's ledger for reading and changes no file of the home.

    Without a writer the file is read as it stands; if a writer died and left its log behind, a
    private copy is read. Beside a writer SQLite's own snapshots are used.

    Raises:
      UnsettledError: the writer came or went in this very moment.
    """
    path = ledger_path(home)
    log = path.with_name(path.name + "-wal")
    if writer_at_work:
        connection = _connect_beside_writer(path)
    elif log.exists() and log.stat().st_size > 0:
        with tempfile.TemporaryDirectory(prefix="fedloom-ledger-") as folder:
            for source in (path, log):
                shutil.copyfile(source, Path(folder) / source.name)
            connection = _connect((Path(folder) / path.name).as_uri() + "?mode=rw")
            yield from _lend(connection)
        return
    else:
        connection = _connect(path.absolute().as_uri() + "?mode=ro&immutable=1")
    yield from _lend(connection)


def _lend(connection: sqlite3.Connection) -> Iterator[Store]:
    try:
        connection.execute("BEGIN")
        yield Store(connection)
    finally:
        connection.close()


def _connect_beside_writer(path: Path) -> sqlite3.Connection:
    connection = _connect(path.absolute().as_uri() + "?mode=ro")
    try:
        connection.execute("SELECT count(*) FROM entries").fetchone()
    except sqlite3.OperationalError as error:
        connection.close()
        raise UnsettledError from error
    return connection


def _connect(uri: str) -> sqlite3.Connection:
    return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
