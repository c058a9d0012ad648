"""What is decided on a page: one thing at a time, each with its lines in the home's audit log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from fedloom.common.audit_entries import Began, Ended
from fedloom.common.audit_log import AuditLog
from fedloom.common.errors import FedloomError

__all__ = ["Acts"]


class Acts:
    """Notes what a page does, as the command line notes a command.

    Args:
      folder: a home, of a site or a coordinator.
      page: words of the command that serves the page.
    """

    def __init__(self, folder: Path, *page: str) -> None:
        self._log, self._page = AuditLog(folder), page
        self._lock = Lock()

    def note(self, *words: str) -> None:
        """Notes what has no end of its own, such as that a browser was let in.

        Raises:
          DiskFullError: it could not be noted.
        """
        with self.noted(*words):
            pass

    @contextmanager
    def noted(self, *words: str) -> Iterator[None]:
        """Does nothing else meanwhile, and notes the words before and the exit code after.

        Raises:
          DiskFullError: it could not be noted, so nothing was done.
        """
        with self._lock:
            (line,) = self._log.append(Began(words=(*self._page, *words)))
            code = 1  # whatever has no code of its own is a bug of ours
            try:
                yield
                code = 0
            except FedloomError as error:
                code = error.exit_code
                raise
            finally:
                self._log.append(Ended(exit_code=code, command=line))
