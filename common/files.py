"""Files whose state matters: from strangers, written whole or not at all, on disks that are full.

A name in a folder that somebody else filled may be a link to another place, a pipe that never
ends, or a file of any size: `read_plain` refuses each before a byte is read.

A file that is replaced is written beside its place, forced to disk and renamed, so a crash or a
full disk leaves the old file or the new one, never half of one. What a kill leaves beside it has a
name that ends in `.partial`, and the next write takes its place. Folders that are made whole go the
same way. And a disk that takes no more is told from a file that is damaged: one needs room, the
other a backup.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedloom.common.errors import ConfigError, ReleaseError

__all__ = [
    "NOTHING_LOST",
    "check_writable",
    "disk_is_full",
    "read_plain",
    "replacing",
    "sync_folder",
    "write_new",
    "write_whole",
]

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


def write_whole(
    path: Path, data: bytes | str, *, private: bool = False, shared: bool = False
) -> None:
    """Writes or replaces a file, whole or not at all.

    Args:
      path: of the file.
      data: what it shall hold; a text is written as UTF-8.
      private: whether its owner alone may read it (mode 0600).
      shared: see `replacing`.
    """
    with replacing(path, shared=shared) as partial:
        _write(partial, _bytes(data), 0o600 if private else 0o666)


def check_writable(path: Path) -> None:
    """Makes sure that a file can be put there, before something is done that it shall tell of.

    Raises:
      ConfigError: its folder is not there, or takes no files.
    """
    if not path.parent.is_dir():
        raise ConfigError(f"{path.parent} is no folder; make it, or give another path than {path}")
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise ConfigError(f"{path} cannot be written; give the path of a file that can")


def write_new(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Writes a file that is never replaced, such as a key.

    Raises:
      FileExistsError: there is one, which stays as it is.
    """
    _write(path, data, mode)


@contextmanager
def replacing(path: Path, *, shared: bool = False) -> Iterator[Path]:
    """Gives a place to write; what was written there takes the file's place after the block.

    After an error the file is as it was, and nothing is left beside it.

    Args:
      path: of the file, or of a folder that is not there yet, or is empty.
      shared: several processes may write the file at one time, each beside under a name of its
        own; the last one to end wins.
    """
    own = f".{secrets.token_hex(4)}" if shared else ""
    partial = path.with_name(f".{path.name}{own}.partial")
    _clear(partial)
    try:
        yield partial
        os.replace(partial, path)
    except BaseException:
        _clear(partial)
        raise
    sync_folder(path.parent)


def _clear(partial: Path) -> None:
    if partial.is_dir():
        shutil.rmtree(partial, ignore_errors=True)
    else:
        partial.unlink(missing_ok=True)


def _bytes(data: bytes | str) -> bytes:
    return data.encode("utf-8") if isinstance(data, str) else data


def _write(path: Path, data: bytes, mode: int) -> None:
    """Writes a new file and waits until it is on disk; if that fails it is not there."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError:
        # Half a key, as a full disk leaves it, would stand in the way of the next attempt.
        path.unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Waits until a folder's names are on disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
