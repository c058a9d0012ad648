"""What long-lived programs log: one event a line, for people or, as JSON, for machines.

An event has a name and fields from a fixed list, all of them public: no value of a record, and no
text of an error that records may have caused. What a library logs is named and not quoted, for the
same reason; reasons are in a home's private log. Lines go to standard error, or to a file that is
rotated.
"""

from __future__ import annotations

import json
import logging
import logging.handlers
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from fedloom.common.audit_log import utc_now

__all__ = [
    "FORMATS",
    "LEVELS",
    "chosen_words",
    "configure",
    "event",
    "events_to_file",
    "is_served",
    "serve_events",
]

FORMATS = ("text", "json")
LEVELS = ("debug", "info", "warning", "error")
_FIELDS = (
    "run",
    "round",
    "rounds",
    "attempt",
    "query",
    "site",
    "code",
    "program",
    "pid",
    "exit_code",
    "address",
    "detail",
)
_LARGEST_LOG = 16 << 20
_KEY = "fedloom_fields"
_log = logging.getLogger("fedloom")


@dataclass(slots=True)
class _Chosen:
    """What the command line says, else what a home's file says, else the defaults."""

    form: str | None = None
    level: str | None = None
    served: bool = False


_chosen = _Chosen()


def configure(form: str | None, level: str | None) -> None:
    """Takes what the command line says; None for what it does not say."""
    _chosen.form, _chosen.level, _chosen.served = form, level, False
    _log.propagate = False
    _log.handlers = [_ToStandardError()]
    _log.setLevel((level or "info").upper())


def serve_events(form: str | None = None, level: str | None = None) -> None:
    """Says that this process is a program whose whole output is a log.

    Args:
      form: of the home's file, "text" or "json"; the command line comes first.
      level: the least that is logged, likewise.
    """
    form, level = _chosen.form or form, _chosen.level or level
    configure(form, level)
    _chosen.served = True
    root = logging.getLogger()
    root.handlers = [_ToStandardError()]
    root.setLevel(logging.WARNING)


def chosen_words() -> list[str]:
    """Returns the words by which this process's command line chose, for a program it starts."""
    form = [] if _chosen.form is None else ["--log-format", _chosen.form]
    return form if _chosen.level is None else [*form, "--log-level", _chosen.level]


def is_served() -> bool:
    """Whether this process is a program whose whole output is a log, in either format."""
    return _chosen.served


def event(
    name: str,
    *,
    level: str = "info",
    to: logging.Logger = _log,
    **fields: str | int | None,
) -> None:
    """Logs an event.

    Args:
      name: what happened, such as "message".
      level: one of `LEVELS`.
      to: where; standard error by default.
      **fields: `run`, `round` and so on; None leaves one out.

    Raises:
      KeyError: a field is not on the list of this module.
    """
    unknown = fields.keys() - set(_FIELDS)
    if unknown:
        raise KeyError(f"an event has no field {sorted(unknown)}")
    given = {key: value for key in _FIELDS if (value := fields.get(key)) is not None}
    to.log(getattr(logging, level.upper()), name, extra={_KEY: given})


@contextmanager
def events_to_file(path: Path, form: str | None, level: str | None) -> Iterator[logging.Logger]:
    """Gives a logger whose lines go to a file of at most 16 MiB, with one older file beside it.

    Args:
      path: of the file.
      form: "text" or "json"; text by default.
      level: the least that is logged; info by default.
    """
    handler = logging.handlers.RotatingFileHandler(path, maxBytes=_LARGEST_LOG, backupCount=1)
    handler.setFormatter(_Format(form or "text"))
    log = logging.Logger("fedloom", (level or "info").upper())
    log.addHandler(handler)
    try:
        yield log
    finally:
        handler.close()


class _Format(logging.Formatter):
    """Writes an event, or the name of a library that logged something, as one line."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self._form = form

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line; of a library's record neither text nor traceback, only whose it is."""
        fields = getattr(record, _KEY, None)
        name = record.getMessage() if fields is not None else "library"
        if fields is None:
            fields = {"program": record.name}
        level, now = record.levelname.lower(), utc_now()
        if self._form == "json":
            return json.dumps({"time": now, "level": level, "event": name, **fields})
        said = "".join(f" {key}={_plain(value)}" for key, value in fields.items())
        return f"{now} {level} {name}{said}"


class _ToStandardError(logging.Handler):
    """Writes to whatever standard error is when something is logged."""

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one line; a standard error that is gone stops nothing."""
        with suppress(OSError, ValueError):
            sys.stderr.write(_Format(_chosen.form or "text").format(record) + "\n")
            sys.stderr.flush()


def _plain(value: str | int) -> str:
    """Returns a field's value as text of one line without spaces, or in quotes."""
    text = str(value)
    return text if text.isprintable() and text and not set(text) & set(' "=') else json.dumps(text)
