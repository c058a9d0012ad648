"""Notes every message at a site in the home's audit log, before its answer leaves.

The first answer to each round's request always has a line of its own: the ledger bounds how many
there can be. All else costs nobody anything and could be sent without end, so that a line each
would fill the disk: of that a bounded number has lines, and the rest is counted in the next one.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from fedloom.common.audit_entries import Entry, Message, MoreMessages
from fedloom.common.audit_log import AuditLog
from fedloom.common.messages import Unopened
from fedloom.common.vocabulary import Query, Status
from fedloom.privacy.keys import fingerprint

__all__ = ["LOOKS", "Handled", "MessageAudit"]

LOOKS = (Query.PREPARE, Query.FINISH)
"""Queries that read no record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handled:
    """A message and what became of it; nothing that depends on records.

    Attributes:
      message: as far as it could be read.
      sender: public key whose signature was checked; None for anybody.
      outcome: a `Status`, or "silence".
      stored: the answer had been given before.
    """

    message: Unopened | None
    sender: str | None
    outcome: str
    stored: bool = False

    def entry(self) -> Message:
        """Returns the line of an audit log; names that nobody signed are left out."""
        if self.message is None or self.sender is None:
            return Message(outcome=self.outcome)
        header = self.message.header
        return Message(
            outcome=self.outcome,
            query=str(header.query),
            plan=header.plan,
            run=header.run,
            round=header.round,
            attempt=len(header.void) + 1,
            sender=fingerprint(self.sender),
            stored=self.stored,
        )

    @property
    def is_new_answer(self) -> bool:
        """Whether a round was answered that had not been answered before."""
        return (
            self.outcome == Status.OK
            and not self.stored
            and self.message is not None
            and self.message.header.query not in LOOKS
        )


class MessageAudit:
    """Called with each message that a vault has handled; see the module.

    Args:
      log: the home's.
      clock: seconds, never going back.
    """

    def __init__(self, log: AuditLog, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        # From the coordinator: 500 at once, then one a minute. From anybody: 60, one in 10 minutes.
        self._known = _Allowance(500, 60.0, clock)
        self._unknown = _Allowance(60, 600.0, clock)
        self._more: Counter[str] = Counter()

    def __call__(self, handled: Handled) -> None:
        """Notes a message.

        Raises:
          DiskFullError: it could not be noted, so its answer must not leave.
        """
        allowance = self._unknown if handled.sender is None else self._known
        if not handled.is_new_answer and not allowance.take():
            self._more[handled.outcome] += 1
            return
        self._append(handled.entry())

    def close(self) -> None:
        """Notes how many messages have no line of their own yet."""
        if self._more:
            self._append()

    def _append(self, *entries: Entry) -> None:
        more = (MoreMessages(outcomes=dict(self._more)),) if self._more else ()
        self._log.append(*more, *entries)
        self._more.clear()


class _Allowance:
    """So many at once, and one more after every `pause_s` seconds."""

    def __init__(self, most: int, pause_s: float, clock: Callable[[], float]) -> None:
        self._most, self._pause_s, self._clock = most, pause_s, clock
        self._left, self._at = float(most), clock()

    def take(self) -> bool:
        now = self._clock()
        self._left = min(self._most, self._left + (now - self._at) / self._pause_s)
        self._at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True
