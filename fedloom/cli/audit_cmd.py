"""`site audit-log` and `coordinator audit-log`: who did what when, and whether the log is whole."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import click
import msgspec

from fedloom.cli.options import json_option
from fedloom.common.audit_entries import (
    Asked,
    Began,
    Ended,
    Exchanged,
    Message,
    MoreMessages,
    Stamped,
)
from fedloom.common.audit_log import FIRST, AuditLog, line_digest
from fedloom.common.errors import ConfigError, VerificationError

__all__ = ["audit_log"]

_TIME = re.compile(r"\d{4}-\d\d(-\d\d(T\d\d(:\d\d(:\d\d(\.\d+)?)?)?Z?)?)?\Z")
_KNOWN = re.compile(r"(\d+):([0-9a-f]{64})\Z")


@click.command(name="audit-log")
@click.argument("home", type=click.Path(path_type=Path), default=Path("."))
@click.option("--since", help="From this time on, UTC, such as 2026-11-28 or 2026-11-28T10:00.")
@click.option("--run", "run", help="Messages of the run of this name, or of names that begin so.")
@click.option(
    "--known", metavar="NUMBER:DIGEST", help="A head that was noted elsewhere; it must be there."
)
@json_option
def audit_log(
    home: Path, since: str | None, run: str | None, known: str | None, as_json: bool
) -> None:
    """Print the audit log of HOME, a site's or a coordinator's, and check its chain.

    The chain is checked whole, whatever is shown; exit code 4 if a line was removed, changed or
    put in. The last line of the output is the head: note it elsewhere, and give it with --known
    later, to find that the end was cut or all was written anew. With --json each line is printed as
    it stands, an object a line.
    """
    if since is not None and not _TIME.match(since):
        raise ConfigError(f"--since {since}: must be a time such as 2026-11-28 or 2026-11-28T10:00")
    wanted = None if known is None else _KNOWN.match(known)
    if known is not None and wanted is None:
        raise ConfigError(f"--known {known}: must be NUMBER:DIGEST, as this command prints it")
    log = AuditLog(home)
    if not log.parts():
        raise ConfigError(f"{home} has no audit log; give the home of a site or a coordinator")
    number, digest, found = 0, FIRST, False
    for line in log.lines():
        number, digest = line.seq, line_digest(line)
        if wanted is not None and number == int(wanted[1]):
            found = digest == wanted[2]
        if (since is None or line.time >= since) and (run is None or _is_of(line, run)):
            click.echo(json.dumps(_plain(line)) if as_json else _in_words(line))
    if wanted is not None and not found:
        raise VerificationError(
            f"the audit log of {home} has not the line {wanted[1]} that was noted elsewhere: its "
            "end was cut, or it was written anew"
        )
    if as_json:
        click.echo(json.dumps({"lines": number, "head": f"{number}:{digest}"}))
    else:
        click.echo(f"{number} lines, the chain holds; head {number}:{digest}")


def _is_of(line: Stamped, run: str) -> bool:
    return str(getattr(line.entry, "run", None) or "").startswith(run)


def _plain(line: Stamped) -> dict[str, Any]:
    entry = {k: v for k, v in msgspec.to_builtins(line.entry).items() if v is not None}
    return {"seq": line.seq, "time": line.time, "user": line.user, **entry}


def _in_words(line: Stamped) -> str:
    entry = line.entry
    match entry:
        case Began():
            said = "fedloom " + " ".join(entry.words)
        case Ended(command=None):
            said = f"fedloom {' '.join(entry.words or ())}: ended with {entry.exit_code}"
        case Ended():
            said = f"the command of line {entry.command} ended with {entry.exit_code}"
        case Asked():
            said = f"asks {', '.join(entry.sites)}: {_round(entry)}"
        case Message():
            who = "" if entry.site is None else f"{entry.site} "
            key = "nobody's key" if entry.sender is None else f"key {entry.sender}"
            what = "message" if entry.query is None else _round(entry)
            said = f"{who}{what}: {entry.outcome}{', stored' if entry.stored else ''}; {key}"
        case MoreMessages():
            counts = ", ".join(f"{code} {n}" for code, n in sorted(entry.outcomes.items()))
            said = f"more messages, without a line each: {counts}"
        case Exchanged():
            said = f"{_round(entry)}: {entry.answered} answers accepted, {entry.seconds:.1f} s"
        case _:
            said = f"a crash left part of a line, {entry.removed_bytes} bytes, taken away"
    return f"{line.seq:6d} {line.time} {line.user}: {said}"


def _round(entry: Asked | Exchanged | Message) -> str:
    return f"{entry.query} of run {entry.run}, round {entry.round}, attempt {entry.attempt}"
