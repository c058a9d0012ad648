"""Reads files that come from outside: plain files alone, and never more than was expected.

A name in a folder that somebody else filled may be a link to another place, a pipe that never
ends, or a file of any size. Each is refused before a byte is read.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from fedloom.common.errors import ReleaseError

__all__ = ["read_plain"]


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
