"""What a chain of entries amounts to: grants, reservations, attempts.

The rules of the ledger are here and nowhere else. The writer asks `State.check` before it
appends; opening a ledger, viewing it and checking an extract replay the same rules over the
entries, so a chain that breaks one is as damaged as a chain with a wrong hash.

An approval grants a number of runs (`fedloom.privacy.ledger.grants`), and a reservation uses one of
them. A plan has one grant at a time: it is approved again once the grant before has ended.

An attempt is opened before a record is read and committed with its answer. Opening a later
attempt of a round voids an unanswered earlier one: nothing had left, and it can no longer be
committed, so it no longer counts against the reservation. Attempts are numbered from 1. One that
was asked of other sites, or never arrived, is not in this ledger; the next one that is names it
with its roster, so that no number is missing.

A home is for one unit (`fedloom.privacy.ledger.unit`).

A run whose answers the ledger may not all hold is `lost`, and a grant of which the home lost
entries: they count in full. A home that was restored says with `restore` up to which entry of each
ledger before everything counts as spent (`fedloom.common.signed_heads`).

A site's keys change once all approvals have ended (`fedloom.privacy.ledger.rotation`).

The end of a run names the numbers of all entries about its plan so far, over all runs, and about
the plans that learned its schema: a copy of the chain that leaves one of them out as if it were
another study's is thereby found out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from fedloom.common.errors import LedgerError, NotApprovedError, RefusedError, UsedUpError
from fedloom.privacy.events import DpEvent, event_from_json, steps_of
from fedloom.privacy.ledger.entries import ROTATED, Entry
from fedloom.privacy.ledger.grants import Attempt, Grant, Reservation
from fedloom.privacy.ledger.rotation import check_change
from fedloom.privacy.ledger.unit import check_unit
from fedloom.privacy.ledger.wording import short, used_up

__all__ = ["State", "replay"]


class State:
    """The meaning of the entries so far."""

    def __init__(self) -> None:
        """Starts before the genesis entry."""
        self.genesis: dict[str, Any] = {}
        self.paused = False
        self.lost: tuple[int, ...] = ()
        """By epoch that a restoration ended, the number of the last entry that counts as spent."""
        self.signing_keys: tuple[str, ...] = ()
        """The keys that signed the entries so far, in order; the last one is in force."""
        self.grants: dict[str, list[Grant]] = {}
        self.reservations: dict[tuple[str, str], Reservation] = {}
        self._num_entries = 0
        self._about: dict[str, list[int]] = {}

    @property
    def live_grants(self) -> list[Grant]:
        """The grants under which a run has been answered, or may be without more room."""
        return [grant for grants in self.grants.values() for grant in grants if grant.live]

    @property
    def held(self) -> list[DpEvent]:
        """Everything committed, and all that grants and unfinished runs still hold."""
        return [event for grant in self.live_grants for event in grant.held]

    @property
    def committed(self) -> list[DpEvent]:
        """Everything that has left, over all runs."""
        return [event for r in self.reservations.values() for event in r.committed]

    @property
    def unit(self) -> tuple[str, str | None] | None:
        """What the home's losses are for: the unit and, for persons, the column of their ids.

        None as long as nothing is approved, or what was is revoked and nothing came of it.
        """
        for grants in self.grants.values():
            if not grants[-1].revoked or any(grant.live for grant in grants):
                return grants[-1].approval["unit"], grants[-1].approval["id"]
        return None

    def grant(self, plan: str) -> Grant | None:
        """Returns the grant that holds for `plan` or held last; None if there is none or revoked.

        One that is used up is returned as well: its unfinished runs go on under it.
        """
        grants = self.grants.get(plan)
        return None if grants is None or grants[-1].revoked else grants[-1]

    def approval(self, plan: str) -> dict[str, Any] | None:
        """Returns the entry of the grant that holds for `plan`, or None."""
        grant = self.grant(plan)
        return None if grant is None else grant.approval

    def coordinator(self, plan: str) -> str | None:
        """Returns the key that signs requests for `plan`, also once its approval is revoked."""
        grants = self.grants.get(plan)
        return None if grants is None else str(grants[-1].approval["coordinator"])

    @property
    def open_plans(self) -> dict[str, str]:
        """Names of the studies, by plan, of whose last approval something is left."""
        last = {plan: grants[-1] for plan, grants in self.grants.items()}
        return {plan: grant.approval["name"] for plan, grant in last.items() if not grant.ended}

    def find(self, plan: str, run: str) -> Reservation | None:
        """Returns the reservation of this run of this plan, if there is one."""
        return self.reservations.get((plan, run))

    def entries_about(self, plan: str) -> list[int]:
        """Returns the numbers of all entries so far that are about `plan` and its `family`."""
        return sorted(seq for name in self.family(plan) for seq in self._about.get(name, ()))

    def family(self, plan: str) -> set[str]:
        """Returns `plan` and the plans that learned its schema, and theirs, as approvals name them.

        Whoever sees what `plan` gave has also seen what those gave.
        """
        found: set[str] = set()
        waiting = [plan]
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting += [
                    p for grant in self.grants.get(name, []) for p in grant.approval["learned"]
                ]
        return found

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
            check_unit(data["unit"], data["id"], held=self.unit)
            self._check_approve(data)
        if kind == "revoke":
            self._check_revoke(data["plan"])
        if kind == "reserve":
            self._check_reserve(data)
        if kind in ("open", "commit", "finish"):
            self._unfinished(data)
        if kind == "finish" and data["entries"] != self.entries_about(data["plan"]):
            raise RefusedError(
                f"the end of run {data['run']} names other entries about plan "
                f"{short(data['plan'])} than there are: one of them was left out"
            )
        if kind == "open":
            self._check_open(data)
        if kind == "commit":
            self._check_pending(data)
        if kind == "release":
            self._reservation(data)
        if kind == "lost":
            self._check_lost(data)
        if kind == "restore":
            self._check_restore(data["lost"])
        if kind == ROTATED:
            self._check_rotation(data)

    def check_run(self, plan: str, run: str) -> None:
        """Checks that a run may go on, or begin, as far as the steward decided.

        Raises:
          NotApprovedError: the plan is not approved, its runs are used, or the home is paused.
          RefusedError: the run is finished.
        """
        self._check_approved(plan)
        if (plan, run) in self.reservations:
            self._unfinished({"plan": plan, "run": run})
        elif self.grants[plan][-1].left == 0:
            raise used_up(plan, self.grants[plan][-1])

    def apply(self, kind: str, data: dict[str, Any]) -> None:
        """Checks an entry and takes it in; raises as `check` does."""
        self.check(kind, data)
        match kind:
            case "genesis":
                self.genesis = dict(data)
                self.signing_keys = (data["public_key"],)
            case "approve":
                event = event_from_json(data["event"])
                grant = Grant(approval=dict(data), event=event, num_runs=data["runs"])
                self.grants.setdefault(data["plan"], []).append(grant)
            case "revoke":
                self.grants[data["plan"]][-1].revoked = True
            case "pause" | "resume":
                self.paused = kind == "pause"
            case "reserve":
                self._reserve(data)
            case "open":
                self._open(data)
            case "commit":
                self._attempt(data).answer_digest = data["answer_digest"]
            case "finish":
                self._reservation(data).finished = True
            case "release":
                self._reservation(data).releases.append(data["digest"])
            case "lost" if data["run"] is None:
                self.grants[data["plan"]][-1].lost = True
            case "lost":
                self._reservation(data).lost = True
            case "restore":
                self.lost = tuple(data["lost"])
            case _ if kind == ROTATED and data["new"]["key"] != self.signing_keys[-1]:
                self.signing_keys = (*self.signing_keys, data["new"]["key"])
        if "plan" in data:
            self._about.setdefault(data["plan"], []).append(self._num_entries)
        self._num_entries += 1

    def _check_approved(self, plan: str) -> None:
        if self.paused:
            raise NotApprovedError("the steward has paused this site; it goes on after a resume")
        if self.grant(plan) is None:
            word = "revoked" if plan in self.grants else "not approved"
            raise NotApprovedError(
                f"plan {short(plan)} is {word} here; the steward decides: fedloom site approve"
            )

    def _check_approve(self, data: dict[str, Any]) -> None:
        plan = data["plan"]
        grants = self.grants.get(plan, [])
        unfinished = [run.run for grant in grants for run in grant.unfinished]
        if unfinished or (grants and not grants[-1].ended):
            what = f"run {unfinished[0]} of it is not finished" if unfinished else "a run is left"
            raise RefusedError(
                f"plan {short(plan)} is approved here and {what}; it can be approved again once "
                "its runs are finished and used, or after it is revoked, which ends them"
            )
        fixed = {"study", "unit", "id", "event", "learned"} & set(data)
        if any(grant.approval[name] != data[name] for grant in grants for name in fixed):
            raise RefusedError(f"plan {short(plan)} was approved before as something else")

    def _check_revoke(self, plan: str) -> None:
        grant = self.grant(plan)
        if grant is None:
            raise NotApprovedError(f"plan {short(plan)} is not approved here")
        if grant.ended:
            raise UsedUpError(
                f"the approval of plan {short(plan)} is used up: nothing is left to revoke",
                runs=grant.num_runs,
            )

    def _check_reserve(self, data: dict[str, Any]) -> None:
        plan, grant = data["plan"], self.grants[data["plan"]][-1]
        if (plan, data["run"]) in self.reservations:
            raise RefusedError(f"run {data['run']} of plan {short(plan)} is reserved")
        if steps_of([grant.event]) != steps_of([event_from_json(data["event"])]):
            raise RefusedError(
                f"the reservation for plan {short(plan)} is not the event that was "
                "approved; approve the plan as it is now, or ask for what was approved"
            )
        if grant.left == 0:
            raise used_up(plan, grant)

    def _reserve(self, data: dict[str, Any]) -> None:
        plan, event = data["plan"], event_from_json(data["event"])
        run = Reservation(plan=plan, run=data["run"], event=event, room=steps_of([event]))
        self.reservations[plan, data["run"]] = run
        self.grants[plan][-1].runs.append(run)

    def _check_open(self, data: dict[str, Any]) -> None:
        reservation = self._reservation(data)
        same_round = [a for a in reservation.attempts.values() if a.round == data["round"]]
        last = max((a.attempt for a in same_round), default=0)
        if data["attempt"] <= last:
            raise RefusedError(
                f"attempt {data['attempt']} of round {data['round']} was asked before: attempt "
                f"numbers only grow, the next one here is {last + 1}"
            )
        if data["attempt"] != len(data["void"]) + 1:
            raise RefusedError(
                f"attempt {data['attempt']} of round {data['round']} names {len(data['void'])} "
                "earlier ones; attempts are numbered from 1 without a gap"
            )
        for earlier in same_round:
            if tuple(data["void"][earlier.attempt - 1]) != earlier.roster:
                raise RefusedError(
                    f"attempt {data['attempt']} of round {data['round']} says that attempt "
                    f"{earlier.attempt} was asked of other sites than it was here"
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
            roster=tuple(data["roster"]),
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

    def _check_lost(self, data: dict[str, Any]) -> None:
        if data["run"] is not None:
            self._unfinished(data)
        elif data["plan"] not in self.grants:
            raise RefusedError(f"plan {short(data['plan'])} was never approved here")

    def _check_restore(self, lost: list[int]) -> None:
        kept = self.lost
        if len(lost) <= len(kept) or any(new < old for new, old in zip(lost, kept, strict=False)):
            raise RefusedError("a restoration counts at least what those before it counted as lost")
        if lost[len(kept)] < self._num_entries - 1:
            raise RefusedError("a restoration counts as lost at least what the ledger holds")

    def _check_rotation(self, data: dict[str, Any]) -> None:
        under_way = any(not run.finished for run in self.reservations.values())
        site, keys, approved = self.genesis["site"], self.signing_keys, list(self.open_plans)
        check_change(data, site=site, signing_keys=keys, under_way=under_way, approved=approved)

    def _reservation(self, data: dict[str, Any]) -> Reservation:
        reservation = self.find(data["plan"], data["run"])
        if reservation is None:
            raise RefusedError(f"run {data['run']} of plan {short(data['plan'])} is not reserved")
        return reservation

    def _unfinished(self, data: dict[str, Any]) -> None:
        if self._reservation(data).finished:
            raise RefusedError(f"run {data['run']} of plan {short(data['plan'])} is finished")

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
