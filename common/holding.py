"""Who works in a folder: a lock that the system itself drops when its holder ends.

A process id alone lies after a crash or a restart, when it belongs to nobody or to somebody else.
So whoever works in a folder holds a lock on a file there; the file says who that is, for people.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
import stat
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from fedloom.common.errors import ConfigError

__all__ = ["Holder", "forget_holder", "hold", "holder", "killed_holder"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """A process that works in a folder.

    Attributes:
      pid: its number; 0 if it could not be read.
      host: the machine that it runs on.
      since: when it began, UTC.
    """

    pid: int
    host: str
    since: str

    @property
    def in_words(self) -> str:
        """Names it in a message."""
        return f"process {self.pid} on {self.host}, since {self.since}"


@contextlib.contextmanager
def hold(path: Path, what: str) -> Iterator[None]:
    """Holds the lock on a file, which is made if it is missing, and stays.

    Args:
      path: of the file.
      what: is being done, and how to end it, for the message.

    Raises:
      ConfigError: another process holds it, or it is a link or no plain file.
    """
    descriptor = _open(path, os.O_RDWR | os.O_CREAT)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"{_read(descriptor).in_words}: {what}") from None
        me = Holder(
            pid=os.getpid(),
            host=socket.gethostname(),
            since=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        )
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(asdict(me)).encode(), 0)
        try:
            yield
        finally:
            os.truncate(descriptor, 0)
    finally:
        os.close(descriptor)


def holder(path: Path) -> Holder | None:
    """Returns who holds the lock on a file; None if nobody does.

    What the file says is for people: whoever may write to the folder may have written it.

    Raises:
      ConfigError: it is a link or no plain file.
    """
    try:
        descriptor = _open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read(descriptor)
    finally:
        os.close(descriptor)
    return None


def killed_holder(path: Path) -> Holder | None:
    """Returns who held the lock on a file and was killed; None if the last one ended otherwise.

    Whoever lets go of the lock takes its name out of the file first.

    Raises:
      ConfigError: it is a link or no plain file.
    """
    try:
        descriptor = _open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        told = _read(descriptor) if os.fstat(descriptor).st_size else None
    finally:
        os.close(descriptor)
    return told if holder(path) is None else None


def forget_holder(path: Path) -> None:
    """Deletes the name of a holder that was killed; one that works keeps its own.

    Raises:
      ConfigError: it is a link or no plain file.
    """
    try:
        descriptor = _open(path, os.O_RDWR)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.truncate(descriptor, 0)
    except BlockingIOError:
        pass
    finally:
        os.close(descriptor)


def _open(path: Path, flags: int) -> int:
    """Opens a lock's file; in a folder of somebody else its name may be a link elsewhere."""
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise ConfigError(f"{path} is a link; take it away") from None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        os.close(descriptor)
        raise ConfigError(f"{path} must be a plain file of one name; take it away")
    return descriptor


def _read(descriptor: int) -> Holder:
    try:
        told = Holder(**json.loads(os.pread(descriptor, 4096, 0)))
        return replace(told, pid=told.pid if type(told.pid) is int and told.pid > 1 else 0)
    except (ValueError, TypeError):  # it has taken the lock and not written yet
        return Holder(pid=0, host=socket.gethostname(), since="now")
