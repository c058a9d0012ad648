"""Reads an audit log as it grows: each line once, and whether the chain holds so far."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fedloom.common.audit_entries import Stamped
from fedloom.common.audit_log import FIRST, AuditLog, line_digest, parse_line
from fedloom.common.errors import VerificationError

__all__ = ["AuditTail"]


class AuditTail:
    """Follows the log of one folder.

    A line that was changed after it was read here is found by `AuditLog.lines` alone.

    Args:
      log: of the folder.
    """

    def __init__(self, log: AuditLog) -> None:
        self._log = log
        self._offsets: dict[tuple[int, int], int] = {}
        self._number, self._previous = 0, FIRST
        self.whole = True
        """Whether every line read so far follows the one before."""

    def new(self) -> Iterator[Stamped]:
        """Yields the lines that were added since the last call; one that is damaged is left out."""
        for part in self._log.parts():
            for raw in self._added(part):
                try:
                    line = parse_line(raw, part.name)
                except VerificationError:
                    self.whole = False
                    continue
                if (line.seq, line.previous) != (self._number + 1, self._previous):
                    self.whole = False
                self._number, self._previous = line.seq, line_digest(line)
                yield line

    def _added(self, part: Path) -> list[bytes]:
        try:
            with part.open("rb") as stream:
                status = part.stat()
                file = status.st_dev, status.st_ino
                offset = self._offsets.get(file, 0)
                if offset > status.st_size:
                    self.whole, offset = False, 0
                stream.seek(offset)
                whole = stream.read().rpartition(b"\n")[0]
        except FileNotFoundError:  # it became an older part between two looks
            return []
        if not whole:
            return []
        self._offsets[file] = offset + len(whole) + 1
        return whole.split(b"\n")
