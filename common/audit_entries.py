"""What stands in an audit log: commands that people gave, and messages that came or went.

A line is JSON: `seq`, `previous`, `time`, `user`, and one of these entries, told apart by `kind`.
None of them holds a record, an answer's numbers, or the text of an error.
"""

from __future__ import annotations

import msgspec

from fedloom.common.typed import Section, Sha256

__all__ = [
    "Asked",
    "Began",
    "Ended",
    "Entry",
    "Exchanged",
    "Message",
    "MoreMessages",
    "Repaired",
    "Stamped",
]


class Began(Section, frozen=True, tag_field="kind", tag="command"):
    """A command that somebody gave; written before it does anything."""

    words: tuple[str, ...]
    """The command and its arguments, without what may be secret."""
    sudo: str | None = None
    """Who became root to give it, as `sudo` says."""


class Ended(Section, frozen=True, tag_field="kind", tag="end"):
    """How a command ended; one that was killed has no such line."""

    exit_code: int
    command: int | None = None
    """Number of the line where it began."""
    words: tuple[str, ...] | None = None
    """Of a command that made this folder itself, and so could not write a line before."""


class Message(Section, frozen=True, tag_field="kind", tag="message"):
    """One message: at a site a request and what became of it, at the coordinator an answer."""

    outcome: str
    """`ok`, the code of a refusal, `silence`, or at the coordinator `rejected`."""
    query: str | None = None
    plan: str | None = None
    run: str | None = None
    round: int | None = None
    attempt: int | None = None
    site: str | None = None
    """At the coordinator, whose answer it is."""
    sender: str | None = None
    """Fingerprint of the key whose signature was checked and holds; None if none did."""
    stored: bool = False
    """Whether the answer was one that had been given before, and so was free."""


class MoreMessages(Section, frozen=True, tag_field="kind", tag="more-messages"):
    """How many more messages came than a line each is kept for, by outcome."""

    outcomes: dict[str, int]


class Asked(Section, frozen=True, tag_field="kind", tag="asked"):
    """What the coordinator is about to ask of sites; written before it is sent."""

    query: str
    plan: str
    run: str
    round: int
    attempt: int
    sites: tuple[str, ...]


class Exchanged(Section, frozen=True, tag_field="kind", tag="exchanged"):
    """The end of what `Asked` began: of all sites together, never of one."""

    query: str
    run: str
    round: int
    attempt: int
    answered: int
    """How many answers were accepted."""
    seconds: float
    """Until the last answer, or until no more was waited for."""
    phase: str
    """Name of the round's phase in the plan; the query where it belongs to none."""


class Repaired(Section, frozen=True, tag_field="kind", tag="repaired"):
    """Part of a line that a crash left at the end was taken away: what it announced never left."""

    removed_bytes: int
    removed_sha256: Sha256


Entry = Began | Ended | Message | MoreMessages | Asked | Exchanged | Repaired


class Stamped(msgspec.Struct, frozen=True, kw_only=True):
    """An entry with its place in the chain.

    Attributes:
      seq: number of the line, from 1.
      previous: SHA-256 of the line before, without its end; of the first, 64 zeros.
      time: UTC, to the millisecond.
      user: name of the system's user whose process wrote it.
      entry: what happened.
    """

    seq: int
    previous: str
    time: str
    user: str
    entry: Entry
