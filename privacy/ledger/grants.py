"""What an approval grants: a number of runs of one plan, held and priced together.

An approval is a grant of `num_runs` runs. With the first reservation under it all of them are
held: the plan's event so many times, fixed beforehand, composed. A run that is finished counts for
what it answered from then on; if it answered nothing, it gives its use back, as nothing had left.
What was answered keeps its use for good, so a grant ends after `num_runs` answered runs, or when
the steward revokes it; a further run needs a new approval.

Where the ledger may lack answers that have left, because the home was restored or the vault lost
its memory, the run, or the whole grant, is lost: it counts for all that it allowed, for good.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from fedloom.privacy.events import DpEvent, Step, repeat

__all__ = ["Attempt", "Grant", "Reservation"]


@dataclass(slots=True, kw_only=True)
class Attempt:
    """One attempt at one round: opened, and perhaps answered or void."""

    round: int
    attempt: int
    query: str
    roster: tuple[str, ...]
    request_digest: str
    event: DpEvent
    answer_digest: str | None = None
    void: bool = False

    @property
    def pending(self) -> bool:
        """Whether the attempt is opened and may still be committed."""
        return self.answer_digest is None and not self.void


@dataclass(slots=True, kw_only=True)
class Reservation:
    """What one run of one plan may cost, and what it has cost so far."""

    plan: str
    run: str
    event: DpEvent
    room: Counter[Step]
    attempts: dict[tuple[int, int], Attempt] = field(default_factory=dict)
    finished: bool = False
    lost: bool = False
    releases: list[str] = field(default_factory=list)

    @property
    def committed(self) -> list[DpEvent]:
        """The events of all answered attempts."""
        return [a.event for a in self.attempts.values() if a.answer_digest is not None]

    @property
    def held(self) -> list[DpEvent]:
        """What the run counts for: its whole reservation until it is finished, or if it is lost."""
        return self.committed if self.finished and not self.lost else [self.event]

    @property
    def live(self) -> bool:
        """Whether anything has left for this run, or still may."""
        return not self.finished or self.lost or bool(self.committed)


@dataclass(slots=True, kw_only=True)
class Grant:
    """One approval, and the runs that were reserved under it.

    Attributes:
      approval: the entry that made it.
      event: what one run costs.
      num_runs: how many runs it allows.
      runs: reserved under it, in order; those that gave their use back are among them.
      revoked: whether the steward took it back.
      lost: whether runs of it may have been answered that the ledger does not hold.
    """

    approval: dict[str, Any]
    event: DpEvent
    num_runs: int
    runs: list[Reservation] = field(default_factory=list)
    revoked: bool = False
    lost: bool = False

    @property
    def left(self) -> int:
        """How many runs may still be reserved."""
        return 0 if self.revoked or self.lost else self.num_runs - sum(r.live for r in self.runs)

    @property
    def unfinished(self) -> list[Reservation]:
        """The runs that are not finished."""
        return [run for run in self.runs if not run.finished]

    @property
    def ended(self) -> bool:
        """Whether nothing more can be answered under it: used up or revoked, all runs finished."""
        return self.left == 0 and not self.unfinished

    @property
    def live(self) -> bool:
        """Whether a run has been answered, or may be without a further admission."""
        return self.lost or any(run.live for run in self.runs)

    @property
    def whole(self) -> DpEvent:
        """Everything that the grant allows, all runs together."""
        return self.event if self.num_runs == 1 else repeat(self.event, self.num_runs)

    @property
    def held(self) -> list[DpEvent]:
        """What the grant counts for now: runs as they are, and those that are left in full."""
        if not self.live:
            return []
        if self.lost:
            return [self.whole]
        held = [event for run in self.runs for event in run.held]
        return [*held, repeat(self.event, self.left)] if self.left else held

    @property
    def num_priced(self) -> int:
        """How many runs it has answered or may still answer; its price is that of so many."""
        return self.num_runs if self.lost else self.left + sum(run.live for run in self.runs)
