"""Files whose state matters: from strangers, written whole or not at all, on disks that are full.

A name in a folder that somebody else filled may be a link to another place, a pipe that never
ends, or a file of any size: `read_plain` refuses each before a byte is read. A file that is written
in place can be cut off by a crash: `write_whole` leaves the old one or the new one. And a disk that
takes no more is told from a file that is damaged: one needs room, the other a backup.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
from pathlib import Path

from fedloom.common.errors import ReleaseError

__all__ = ["NOTHING_LOST", "disk_is_full", "read_plain", "write_whole"]

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


def read_plain(path: Path, max_bytes: int) -> bytes:
    """Returns the bytes of a plain file.

    Args:
      path: of the file.
      max_bytes: more than that is refused.

    Raises:
      ReleaseError: there is no such file, it is a link or no plain file, or it is too large.
    """
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        if path.is_symlink():
            raise ReleaseError(f"{path.name} is a link; a plain file must stand there")
        with os.fdopen(os.open(path, flags), "rb") as stream:
            status = os.fstat(stream.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ReleaseError(f"{path.name} is no plain file; take it away")
            if status.st_size > max_bytes:
                raise ReleaseError(
                    f"{path.name} has {status.st_size:,} bytes; at most {max_bytes:,} are read"
                )
            return stream.read(max_bytes)
    except OSError as error:
        raise ReleaseError(f"{path.name} cannot be read: {error.strerror}") from error


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


def write_whole(path: Path, data: bytes, *, private: bool = False) -> None:
    """Writes or replaces a file; after a crash it is the old one or the new one.

    Args:
      path: of the file; a file of that name with `.partial` after it is left by a crash at most.
      data: all that it shall hold.
      private: whether its owner alone may read it (mode 0600).
    """
    partial = path.with_name(path.name + ".partial")
    mode = 0o600 if private else 0o666
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(partial, path)
