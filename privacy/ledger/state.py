"""What a chain of entries amounts to: approvals, reservations, attempts.

The rules of the ledger are here and nowhere else. The writer asks `State.check` before it
appends; opening a ledger, viewing it and checking an extract replay the same rules over the
entries, so a chain that breaks one is as damaged as a chain with a wrong hash.

An attempt is opened before a record is read and committed with its answer. Opening a later
attempt of a round voids an unanswered earlier one: nothing had left, and it can no longer be
committed, so it no longer counts against the reservation.

A home is for one unit. Losses of records and of persons cannot be added up: a person's rows are
no unit of a plan for records, and one row is none of a plan for persons, whose clip and whose
choice of rows are for all of them together. So a plan is approved only if every other that is
approved, or of which a run has answered or may still answer, has its unit.

The end of a run names the numbers of all entries about its plan so far, over all runs: a copy of
the chain that leaves one of them out as if it were another study's is thereby found out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from fedloom.common.errors import LedgerError, NotApprovedError, RefusedError
from fedloom.privacy.events import DpEvent, Step, event_from_json, steps_of
from fedloom.privacy.ledger.entries import Entry

__all__ = ["Attempt", "Reservation", "State", "replay"]


@dataclass(slots=True, kw_only=True)
class Attempt:
    """One attempt at one round: opened, and perhaps answered or void."""

    round: int
    attempt: int
    query: str
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
    releases: list[str] = field(default_factory=list)

    @property
    def committed(self) -> list[DpEvent]:
        """The events of all answered attempts."""
        return [a.event for a in self.attempts.values() if a.answer_digest is not None]

    @property
    def held(self) -> list[DpEvent]:
        """What the run counts for: its whole reservation until it is finished."""
        return self.committed if self.finished else [self.event]

    @property
    def live(self) -> bool:
        """Whether anything has left for this run, or still may."""
        return not self.finished or bool(self.committed)


class State:
    """The meaning of the entries so far."""

    def __init__(self) -> None:
        """Starts before the genesis entry."""
        self.genesis: dict[str, Any] = {}
        self.paused = False
        self.approvals: dict[str, dict[str, Any]] = {}
        self.revoked: set[str] = set()
        self.reservations: dict[tuple[str, str], Reservation] = {}
        self._num_entries = 0
        self._about: dict[str, list[int]] = {}

    @property
    def held(self) -> list[DpEvent]:
        """Everything committed, and all that unfinished runs still hold."""
        return [event for r in self.reservations.values() for event in r.held]

    @property
    def committed(self) -> list[DpEvent]:
        """Everything that has left, over all runs."""
        return [event for r in self.reservations.values() for event in r.committed]

    @property
    def unit(self) -> tuple[str, str | None] | None:
        """What the home's losses are for: the unit and, for persons, the column of their ids.

        None as long as nothing is approved, or what was is revoked and nothing came of it.
        """
        for plan, approved in self.approvals.items():
            runs = [r for r in self.reservations.values() if r.plan == plan]
            if plan not in self.revoked or any(run.live for run in runs):
                return approved["unit"], approved["id"]
        return None

    def approval(self, plan: str) -> dict[str, Any] | None:
        """Returns what was approved for `plan`, or None if nothing was or it is revoked."""
        return None if plan in self.revoked else self.approvals.get(plan)

    def answered(self, plan: str) -> dict[str, Any] | None:
        """Returns the approval of `plan`, revoked since or not, if any run of it has answered."""
        runs = [r for r in self.reservations.values() if r.plan == plan]
        return self.approvals[plan] if any(run.committed for run in runs) else None

    def find(self, plan: str, run: str) -> Reservation | None:
        """Returns the reservation of this run of this plan, if there is one."""
        return self.reservations.get((plan, run))

    def entries_about(self, plan: str) -> list[int]:
        """Returns the numbers of all entries so far that are about `plan`."""
        return list(self._about.get(plan, ()))

    def pass_over(self) -> None:
        """Counts an entry that was left out of a copy."""
        self._num_entries += 1

    def check(self, kind: str, data: dict[str, Any]) -> None:
        """Checks that an entry may follow.

        Raises:
          NotApprovedError: the plan is not approved, or the home is paused.
          RefusedError: any other rule is broken.
        """
        if bool(self.genesis) == (kind == "genesis"):
            raise RefusedError("expected exactly one genesis entry, before all others")
        if kind in ("reserve", "open", "commit"):
            self._check_approved(data["plan"])
        if kind == "approve":
            self.check_unit(data["unit"], data["id"])
        if kind == "revoke" and self.approval(data["plan"]) is None:
            raise NotApprovedError(f"plan {_short(data['plan'])} is not approved here")
        if kind == "reserve":
            self._check_reserve(data)
        if kind in ("open", "commit", "abort", "finish"):
            self._unfinished(data)
        if kind == "finish" and data["entries"] != self.entries_about(data["plan"]):
            raise RefusedError(
                f"the end of run {data['run']} names other entries about plan "
                f"{_short(data['plan'])} than there are: one of them was left out"
            )
        if kind == "open":
            self._check_open(data)
        if kind in ("commit", "abort"):
            self._check_pending(data)
        if kind == "release":
            self._reservation(data)

    def check_unit(self, unit: str, id_column: str | None) -> None:
        """Checks that a plan's price is for the home's unit.

        Raises:
          RefusedError: it is for another.
        """
        if (unit == "person") != (id_column is not None):
            raise RefusedError("a plan for persons, and no other, names the column of their ids")
        held = self.unit
        if held not in (None, (unit, id_column)):
            raise RefusedError(
                f"the plan's unit of privacy is {_words(unit, id_column)}, and this home's is "
                f"{_words(*held)}: their losses cannot be added up to one limit. Ask for a study "
                "with this home's unit; only a home from which nothing was answered may change "
                "it, once its other studies are revoked and their runs are finished"
            )

    def apply(self, kind: str, data: dict[str, Any]) -> None:
        """Checks an entry and takes it in; raises as `check` does."""
        self.check(kind, data)
        match kind:
            case "genesis":
                self.genesis = dict(data)
            case "approve":
                self.approvals[data["plan"]] = dict(data)
                self.revoked.discard(data["plan"])
            case "revoke":
                self.revoked.add(data["plan"])
            case "pause" | "resume":
                self.paused = kind == "pause"
            case "reserve":
                event = event_from_json(data["event"])
                self.reservations[data["plan"], data["run"]] = Reservation(
                    plan=data["plan"], run=data["run"], event=event, room=steps_of([event])
                )
            case "open":
                self._open(data)
            case "commit":
                self._attempt(data).answer_digest = data["answer_digest"]
            case "abort":
                self._void(self._reservation(data), self._attempt(data))
            case "finish":
                self._reservation(data).finished = True
            case "release":
                self._reservation(data).releases.append(data["digest"])
        if "plan" in data:
            self._about.setdefault(data["plan"], []).append(self._num_entries)
        self._num_entries += 1

    def _check_approved(self, plan: str) -> None:
        if self.paused:
            raise NotApprovedError("the steward has paused this site; it goes on after a resume")
        if self.approval(plan) is None:
            word = "revoked" if plan in self.revoked else "not approved"
            raise NotApprovedError(
                f"plan {_short(plan)} is {word} here; the steward decides: fedloom site approve"
            )

    def _check_reserve(self, data: dict[str, Any]) -> None:
        if (data["plan"], data["run"]) in self.reservations:
            raise RefusedError(f"run {data['run']} of plan {_short(data['plan'])} is reserved")
        approved = event_from_json(self.approvals[data["plan"]]["event"])
        if steps_of([approved]) != steps_of([event_from_json(data["event"])]):
            raise RefusedError(
                f"the reservation for plan {_short(data['plan'])} is not the event that was "
                "approved; approve the plan as it is now, or ask for what was approved"
            )

    def _check_open(self, data: dict[str, Any]) -> None:
        reservation = self._reservation(data)
        same_round = [a for a in reservation.attempts.values() if a.round == data["round"]]
        last = max((a.attempt for a in same_round), default=-1)
        if data["attempt"] <= last:
            raise RefusedError(
                f"attempt {data['attempt']} of round {data['round']} was asked before: attempt "
                f"numbers only grow, the next one here is {last + 1}"
            )
        room = Counter(reservation.room)
        for attempt in same_round:
            if attempt.pending:
                room += steps_of([attempt.event])
        asked = steps_of([event_from_json(data["event"])])
        for step, count in asked.items():
            if count > room[step]:
                raise RefusedError(
                    f"round {data['round']} asks for {count} steps at sampling rate "
                    f"{step.sample_rate:g} and noise multiplier {step.noise_multiplier:g}; the "
                    f"reservation of this run has {room[step]} of those left"
                )

    def _open(self, data: dict[str, Any]) -> None:
        reservation = self._reservation(data)
        for earlier in reservation.attempts.values():
            if earlier.round == data["round"] and earlier.pending:
                self._void(reservation, earlier)
        event = event_from_json(data["event"])
        reservation.room.subtract(steps_of([event]))
        reservation.attempts[data["round"], data["attempt"]] = Attempt(
            round=data["round"],
            attempt=data["attempt"],
            query=data["query"],
            request_digest=data["request_digest"],
            event=event,
        )

    @staticmethod
    def _void(reservation: Reservation, attempt: Attempt) -> None:
        attempt.void = True
        reservation.room.update(steps_of([attempt.event]))

    def _check_pending(self, data: dict[str, Any]) -> None:
        attempt = self._attempt(data)
        if not attempt.pending:
            word = "void" if attempt.void else "answered"
            raise RefusedError(
                f"attempt {data['attempt']} of round {data['round']} is {word} already"
            )
        if data.get("request_digest", attempt.request_digest) != attempt.request_digest:
            raise RefusedError("the answer is to another request than the one that was opened")

    def _reservation(self, data: dict[str, Any]) -> Reservation:
        reservation = self.find(data["plan"], data["run"])
        if reservation is None:
            raise RefusedError(f"run {data['run']} of plan {_short(data['plan'])} is not reserved")
        return reservation

    def _unfinished(self, data: dict[str, Any]) -> None:
        if self._reservation(data).finished:
            raise RefusedError(f"run {data['run']} of plan {_short(data['plan'])} is finished")

    def _attempt(self, data: dict[str, Any]) -> Attempt:
        attempt = self._reservation(data).attempts.get((data["round"], data["attempt"]))
        if attempt is None:
            raise RefusedError(f"attempt {data['attempt']} of round {data['round']} is not open")
        return attempt


def replay(entries: Iterable[Entry]) -> State:
    """Replays a verified chain; entries whose body was left out are passed over.

    Raises:
      LedgerError: an entry breaks a rule of the ledger.
    """
    state = State()
    for entry in entries:
        if entry.body is None and entry.seq > 0:
            state.pass_over()
            continue
        body = entry.read()
        try:
            state.apply(body.kind, body.data)
        except RefusedError as error:
            raise LedgerError(
                f"entry {entry.seq} ({body.kind}) breaks a rule of the ledger: {error}; do not "
                "rely on this ledger, and restore the home from a backup"
            ) from error
    if not state.genesis:
        raise LedgerError("the ledger has no genesis entry; restore the home from a backup")
    return state


def _words(unit: str, id_column: str | None) -> str:
    return f"a {unit}" if id_column is None else f"a {unit} (by {id_column!r})"


def _short(plan: str) -> str:
    return plan[:12]
