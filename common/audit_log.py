"""An append-only log of commands and messages, in which a line that was removed shows.

`audit.jsonl` lies in a site's home and in a coordinator's. Each line is canonical JSON and carries
the SHA-256 of the line before. So a line that was changed, taken out or put in breaks the chain
from there on. Whoever may write to the folder can write the whole chain anew, or cut its end: a
digest of the newest line that is kept elsewhere finds that (`fedloom site audit-log --known`).

A line is on disk before `append` returns, and what it announces happens after that. When the disk
takes no more, `append` raises and nothing happens. A log of more than 16 MiB becomes
`audit-NUMBER.jsonl`, named by its last line, and the next one goes on from its digest; these parts
are never deleted by fedloom.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from fedloom.common.audit_entries import Entry, Repaired, Stamped
from fedloom.common.digest import canonical_json, sha256_hex
from fedloom.common.errors import ConfigError, DiskFullError, VerificationError
from fedloom.common.files import NOTHING_LOST, disk_is_full

__all__ = ["FIRST", "AuditLog", "line_digest", "parse_line", "utc_now"]

FIRST = "0" * 64
_NAME = "audit.jsonl"
_LARGEST_PART = 16 << 20
_LARGEST_LINE = 1 << 20
_PLACE = ("seq", "previous", "time", "user")


def utc_now() -> str:
    """Returns the time, UTC, ISO 8601, to the millisecond."""
    now = time.time()
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now))}.{int(now * 1000) % 1000:03d}Z"


class AuditLog:
    """The audit log of one folder; processes that append at one time wait for each other.

    Args:
      folder: a home.
      largest_part: bytes after which the next line begins a new file.
    """

    def __init__(self, folder: Path, *, largest_part: int = _LARGEST_PART) -> None:
        self.folder = folder
        self._largest_part = largest_part

    @property
    def path(self) -> Path:
        """The file that is written now."""
        return self.folder / _NAME

    def parts(self) -> list[Path]:
        """Returns the files of the log, oldest first."""
        older = sorted(self.folder.glob("audit-*.jsonl"))
        return [*older, self.path] if self.path.exists() else older

    def append(self, *entries: Entry) -> list[int]:
        """Appends lines, and waits until they are on disk.

        Returns:
          Their numbers.

        Raises:
          DiskFullError: the disk takes no more; the log is as it was.
          ConfigError: the file is a link, no plain file, or somebody else's.
          VerificationError: the newest line is damaged; a line after it would hide that.
        """
        try:
            with self._opened() as descriptor:
                return self._write(descriptor, entries)
        except OSError as error:
            if disk_is_full(error):
                raise DiskFullError(
                    f"the disk is full: {self.path} takes no line, so nothing was done; "
                    f"{NOTHING_LOST}"
                ) from error
            raise

    def lines(self) -> Iterator[Stamped]:
        """Reads and checks the log from its first line.

        Raises:
          VerificationError: a line is missing, was changed, or cannot be read.
        """
        number, previous = 0, FIRST
        for part in self.parts():
            for raw in _whole_lines(part):
                number += 1
                line = parse_line(raw, f"{part.name}: line {number}")
                if line.seq != number or line.previous != previous:
                    raise VerificationError(
                        f"{part}: the chain is broken at line {number}: a line before it was "
                        "removed, changed or put in; the lines up to there hold"
                    )
                previous = sha256_hex(raw)
                yield line

    def head(self) -> tuple[int, str]:
        """Checks the log; returns number and digest of its newest line, 0 and zeros without one.

        Raises:
          VerificationError: see `lines`.
        """
        number, digest = 0, FIRST
        for line in self.lines():
            number, digest = line.seq, line_digest(line)
        return number, digest

    @contextmanager
    def _opened(self) -> Iterator[int]:
        """Opens the file that is written now, for this process alone."""
        while True:
            descriptor = self._open()
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                if not _is_at(descriptor, self.path):  # it became an older part meanwhile
                    continue
                size = os.fstat(descriptor).st_size
                if size > self._largest_part:
                    number, _ = _newest(self.path)
                    os.rename(self.path, self.folder / f"audit-{number:012d}.jsonl")
                    _force(self.folder)
                    continue
                yield descriptor
                return
            finally:
                os.close(descriptor)

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        new = not self.path.exists()
        try:
            descriptor = os.open(self.path, flags, 0o600)
        except OSError as error:
            if self.path.is_symlink():
                raise ConfigError(f"{self.path} must be no link; take it away") from error
            raise
        owner, status = self.folder.stat().st_uid, os.fstat(descriptor)
        if new:
            if os.geteuid() == 0:  # the home's owner must be able to go on
                os.fchown(descriptor, owner, self.folder.stat().st_gid)
            _force(self.folder)
        elif (
            not stat.S_ISREG(status.st_mode)
            or status.st_nlink > 1
            or status.st_uid not in (owner, os.geteuid())
        ):
            os.close(descriptor)
            raise ConfigError(f"{self.path} must be a plain file of the folder's owner; see to it")
        return descriptor

    def _write(self, descriptor: int, entries: tuple[Entry, ...]) -> list[int]:
        size = os.fstat(descriptor).st_size
        torn = _torn_end(descriptor, size)
        if torn:
            repaired = Repaired(removed_bytes=len(torn), removed_sha256=sha256_hex(torn))
            entries = (repaired, *entries)
            size -= len(torn)
            os.ftruncate(descriptor, size)
        number, previous = self._end(size)
        user, now, numbers, text = _user(), utc_now(), [], b""
        for entry in entries:
            number += 1
            line = _line(Stamped(seq=number, previous=previous, time=now, user=user, entry=entry))
            if (
                len(line) + 2 > _LARGEST_LINE
            ):  # with the ends around it: it could not be found again
                raise ValueError(f"a line of an audit log has {len(line)} bytes, too many")
            previous = sha256_hex(line)
            numbers.append(number)
            text += line + b"\n"
        try:
            written = 0
            while written < len(text):
                written += os.write(descriptor, text[written:])
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, size)
            raise
        return numbers[1:] if torn else numbers

    def _end(self, size: int) -> tuple[int, str]:
        """Returns number and digest of the newest line."""
        parts = [part for part in self.parts() if part != self.path or size]
        if not parts:
            return 0, FIRST
        return _newest(parts[-1])


def line_digest(line: Stamped) -> str:
    """Returns what the line after this one carries."""
    return sha256_hex(_line(line))


def _line(line: Stamped) -> bytes:
    place = {name: getattr(line, name) for name in _PLACE}
    entry = {k: v for k, v in msgspec.to_builtins(line.entry).items() if v is not None}
    return canonical_json({**place, **entry})


def parse_line(raw: bytes, where: str) -> Stamped:
    """Reads one line, without its end.

    Raises:
      VerificationError: it is none; `where` names it.
    """
    try:
        value: dict[str, Any] = msgspec.json.decode(raw)
        place = {name: value.pop(name) for name in _PLACE}
        line = Stamped(**place, entry=msgspec.convert(value, Entry))
        if _line(line) == raw:
            return line
    except (msgspec.MsgspecError, KeyError, TypeError, AttributeError):
        pass
    raise VerificationError(f"{where} is no line of an audit log: it was changed or damaged")


def _whole_lines(path: Path) -> Iterator[bytes]:
    """Yields the lines of a file; what has no end yet is being written, or was when it crashed."""
    with path.open("rb") as stream:
        for raw in stream:
            if raw.endswith(b"\n"):
                yield raw[:-1]


def _newest(part: Path) -> tuple[int, str]:
    """Returns number and digest of a file's newest line.

    Raises:
      VerificationError: it is damaged; the text says how to go on.
    """
    raw = _last_line(part)
    try:
        return parse_line(raw, str(part)).seq, sha256_hex(raw)
    except VerificationError as error:
        raise VerificationError(
            f"{error}. Nothing was done. Note the file's digest elsewhere (sha256sum {part}), keep "
            f"the file under another name (mv {part} {part}.damaged), and do it again: a new "
            "chain begins, or goes on from the part before"
        ) from error


def _last_line(path: Path) -> bytes:
    with path.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - _LARGEST_LINE))
        return stream.read().rstrip(b"\n").rpartition(b"\n")[2]


def _torn_end(descriptor: int, size: int) -> bytes:
    """Returns what stands after the last end of a line."""
    begin = max(0, size - _LARGEST_LINE)
    return os.pread(descriptor, size - begin, begin).rpartition(b"\n")[2]


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        there, opened = path.lstat(), os.fstat(descriptor)
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (opened.st_dev, opened.st_ino)


def _force(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
