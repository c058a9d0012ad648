"""Notes commands in the audit log of the home that they are given for.

A command that changes something, or gives something away, has a line before it does anything and
one with its exit code at its end. Where the first cannot be written the command does nothing.
Commands that only read have none: health checks would fill the log.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from fedloom.common.audit_entries import Began, Ended
from fedloom.common.audit_log import AuditLog
from fedloom.common.digest import canonical_json

__all__ = ["CommandAudit", "note_command", "note_home", "shown_words"]

_READING = {
    "fedloom coordinator audit-log",
    "fedloom coordinator health",
    "fedloom coordinator metrics",
    "fedloom coordinator status",
    "fedloom runs",
    "fedloom site audit-log",
    "fedloom site health",
    "fedloom site metrics",
    "fedloom site plan",
    "fedloom site preflight",
    "fedloom site status",
    "fedloom study check",
}
_HIDDEN = {"--query", "--url"}
_PASSWORD = re.compile(r"(?P<before>[a-z][a-z0-9+.-]*://[^/@\s:]*:)[^@\s]*@", re.IGNORECASE)
_LONGEST_WORD = 1000
# Of all words as JSON; a log reads back lines of up to 1 MiB.
_MOST_BYTES = 64 << 10


@dataclass(slots=True)
class _Noted:
    folder: Path
    line: int | None


class CommandAudit:
    """What one call of the command line notes.

    Args:
      words: of the command, without the program.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self._words = shown_words(words)
        self._noted: list[_Noted] = []

    def begin(self, folder: Path) -> None:
        """Notes that the command begins, if the folder is a home already.

        Raises:
          DiskFullError: it could not be noted, so the command must not begin.
        """
        if any(noted.folder == folder for noted in self._noted):
            return
        line = None
        if _is_home(folder):
            sudo = os.environ.get("SUDO_USER")
            began = Began(words=self._words, sudo=None if sudo is None else _plain(sudo))
            (line,) = AuditLog(folder).append(began)
        self._noted.append(_Noted(folder=folder, line=line))

    def end(self, exit_code: int) -> None:
        """Notes how the command ended, also in a home that it made.

        Raises:
          DiskFullError: it could not be noted.
        """
        for noted in self._noted:
            if noted.line is not None:
                AuditLog(noted.folder).append(Ended(exit_code=exit_code, command=noted.line))
            elif _is_home(noted.folder):
                AuditLog(noted.folder).append(Ended(exit_code=exit_code, words=self._words))
        self._noted.clear()


def note_home(context: click.Context, parameter: click.Parameter, value: Path) -> Path:
    """Callback of an option or argument that names a home; see `CommandAudit`."""
    audit = context.find_root().obj
    reads = context.command_path in _READING
    if isinstance(audit, CommandAudit) and not reads and not context.resilient_parsing:
        audit.begin(value)
    return value


def note_command(folder: Path) -> None:
    """Notes the command that runs in the audit log of a home that it found itself."""
    audit = click.get_current_context().find_root().obj
    if isinstance(audit, CommandAudit):
        audit.begin(folder)


def shown_words(words: Sequence[str]) -> tuple[str, ...]:
    """Returns the words of a command without what may be secret.

    >>> shown_words(["site", "init", "--url", "postgresql://me:secret@db/x", "--name", "north"])
    ('site', 'init', '--url', '(hidden)', '--name', 'north')
    >>> shown_words(["--query=SELECT 1", "sqlite://a:b@c"])
    ('--query=(hidden)', 'sqlite://a:(hidden)@c')
    """
    shown: list[str] = []
    hide, left = False, _MOST_BYTES
    for place, word in enumerate(words):
        option, equals, _ = word.partition("=")
        if hide:
            text = "(hidden)"
        elif equals and option in _HIDDEN:
            text = f"{option}=(hidden)"
        else:
            text = _PASSWORD.sub(r"\g<before>(hidden)@", word)
        hide = not hide and word in _HIDDEN
        shown.append(_plain(text))
        left -= len(canonical_json(shown[-1])) + 1
        if left < 0:
            shown[-1] = f"(and {len(words) - place} more)"
            break
    return tuple(shown)


def _plain(text: str) -> str:
    """Returns the beginning; a name that is not UTF-8 has surrogates, which JSON cannot say."""
    return text[:_LONGEST_WORD].encode("utf-8", "replace").decode()


def _is_home(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("key.pem", "ledger.db", "coordinator.toml"))
