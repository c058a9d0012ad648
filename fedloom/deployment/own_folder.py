"""A folder that one process writes to, though somebody else owns the folder around it.

Root may keep the programs of another user's home running. Whatever that user can put in its way,
such as a link with a name that root is about to write, must change nothing elsewhere. So the
folder is opened once, without following a link, it must belong to this process's user and be
closed to others' writing, and every file in it is reached from that opened folder.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from fedloom.common.errors import ConfigError

__all__ = ["OwnFolder", "open_folder"]

_PLACES = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PART = 1 << 20


def open_folder(path: Path, owners: tuple[int, ...]) -> int:
    """Returns a descriptor of a folder.

    Args:
      path: of the folder itself, not of a link to it.
      owners: numbers of the users one of whom must own it.

    Raises:
      ConfigError: it is a link or no folder, or belongs to somebody else.
    """
    try:
        descriptor = os.open(path, _PLACES)
    except OSError as error:
        raise ConfigError(
            f"{path} must be a folder and no link ({error.strerror}); take it away"
        ) from None
    if os.fstat(descriptor).st_uid not in owners:
        os.close(descriptor)
        raise ConfigError(
            f"{path} belongs to another user than who writes to it here; move it away, "
            "it is made anew"
        )
    return descriptor


class OwnFolder:
    """A folder of this process's user, made if it is missing.

    Args:
      path: of the folder; the folder above it exists.
      mode: its permissions; nobody but the owner may write.
      group: number of its group; None for whichever it has.

    Raises:
      ConfigError: it is a link or no folder, somebody else owns it, or others may write to it.
    """

    def __init__(self, path: Path, *, mode: int = 0o700, group: int | None = None) -> None:
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700)
        self.path = path
        self._at = open_folder(path, (os.geteuid(),))
        if os.fstat(self._at).st_mode & 0o022:
            os.close(self._at)
            raise ConfigError(f"others may write to {path}; run `chmod go-w {path}`")
        if group is not None:
            os.fchown(self._at, -1, group)
            os.fchmod(self._at, mode)

    def __del__(self) -> None:
        """Lets go of the folder."""
        if "_at" in self.__dict__:
            with contextlib.suppress(OSError):
                os.close(self._at)

    def append(self, name: str) -> BinaryIO:
        """Opens a file at its end; it is made, for its owner alone, if it is missing."""
        return os.fdopen(self._open(name, os.O_WRONLY | os.O_APPEND | os.O_CREAT), "ab")

    def read(self, name: str) -> bytes:
        """Returns the bytes of a file."""
        with os.fdopen(self._open(name, os.O_RDONLY), "rb") as stream:
            return stream.read()

    def rotate(self, name: str, largest: int) -> None:
        """Moves what a file of more than `largest` bytes holds to `NAME.1`, and empties it.

        The file itself stays: a process that appends to it goes on at the new end.
        """
        try:
            descriptor = self._open(name, os.O_RDWR)
        except FileNotFoundError:
            return
        with os.fdopen(descriptor, "r+b") as stream:
            if os.fstat(descriptor).st_size <= largest:
                return
            with self._replacing(f"{name}.1", None) as copy:
                while part := stream.read(_PART):
                    copy.write(part)
            os.ftruncate(descriptor, 0)

    def put(self, name: str, data: bytes, owner: tuple[int, int]) -> None:
        """Writes or replaces a file, for its owner alone; a link of that name is replaced itself.

        Args:
          name: of the file.
          data: what it shall hold.
          owner: numbers of the user and the group that get it.
        """
        with self._replacing(name, owner) as stream:
            stream.write(data)

    def give_folder(self, name: str, owner: tuple[int, int]) -> None:
        """Makes a folder in this one that belongs to somebody else, unless it is there."""
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=self._at)
        descriptor = os.open(name, _PLACES, dir_fd=self._at)
        try:
            os.fchown(descriptor, *owner)
        finally:
            os.close(descriptor)

    def _open(self, name: str, flags: int) -> int:
        flags |= os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(name, flags, 0o600, dir_fd=self._at)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise ConfigError(f"{self.path / name} must be a plain file; take it away")
        return descriptor

    @contextlib.contextmanager
    def _replacing(self, name: str, owner: tuple[int, int] | None) -> Iterator[BinaryIO]:
        partial = f".{name}.{secrets.token_hex(4)}.partial"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(partial, flags, 0o600, dir_fd=self._at)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                yield stream
                if owner is not None:
                    os.fchown(descriptor, *owner)
                stream.flush()
                os.fsync(descriptor)
            os.replace(partial, name, src_dir_fd=self._at, dst_dir_fd=self._at)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(partial, dir_fd=self._at)
            raise
