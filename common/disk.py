"""Tells a disk that is full from a file that is damaged: one needs room, the other a backup."""

from __future__ import annotations

import errno
import sqlite3

__all__ = ["NOTHING_LOST", "disk_is_full"]

NOTHING_LOST = (
    "nothing is damaged, and nothing is to be restored from a backup: make room on the disk and "
    "run the same again"
)

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# What SQLite says where a write, or the growth of a file, failed; reading fails by other names.
_UNWRITTEN = (
    "SQLITE_FULL SQLITE_IOERR_WRITE SQLITE_IOERR_FSYNC SQLITE_IOERR_DIR_FSYNC "
    "SQLITE_IOERR_TRUNCATE SQLITE_IOERR_SHMSIZE SQLITE_IOERR_SHMOPEN SQLITE_IOERR_SHMMAP "
    "SQLITE_IOERR_COMMIT_ATOMIC SQLITE_IOERR_GETTEMPPATH"
).split()


def disk_is_full(error: BaseException | None) -> bool:
    """Tells whether an error, or what caused it, is a disk that takes no more.

    >>> disk_is_full(OSError(errno.ENOSPC, "No space left on device"))
    True
    >>> disk_is_full(sqlite3.DatabaseError("file is not a database"))
    False
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in _FULL:
            return True
        if isinstance(error, sqlite3.Error):
            if getattr(error, "sqlite_errorname", "") in _UNWRITTEN:
                return True
        error = error.__cause__
    return False
