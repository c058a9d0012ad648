"""The one writer of a home's ledger.

Order of a private answer: `reserve` before the first record is read, `open_attempt` before the
records of an attempt are read, `commit` with the answer before it is sent. Each call returns
after its entry is on disk. A crash at any point costs budget at most for what was committed,
and never lets an answer out that is not in the ledger.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from fedloom.common.errors import ConfigError, RefusedError
from fedloom.common.messages import arrays_digest
from fedloom.common.signed_heads import SeenHead
from fedloom.privacy.accounting import lifetime_renyi_order
from fedloom.privacy.events import DpEvent, event_to_json, steps_of
from fedloom.privacy.keys import PrivateKey, public_key_hex
from fedloom.privacy.ledger.budget import Admission, admission, admit_run, budget
from fedloom.privacy.ledger.decisions import Decisions
from fedloom.privacy.ledger.entries import FORMAT, check_data
from fedloom.privacy.ledger.extract import extract_entries
from fedloom.privacy.ledger.grants import Attempt
from fedloom.privacy.ledger.journal import Journal
from fedloom.privacy.ledger.limits import Limits
from fedloom.privacy.ledger.seen_heads import SeenHeads
from fedloom.privacy.ledger.state import State
from fedloom.privacy.ledger.store import Arrays, StoredAnswer

__all__ = ["Ledger"]


class Ledger(Decisions):
    """An open ledger. Use as a context manager; methods may be called from any thread."""

    @classmethod
    def create(
        cls,
        home: Path,
        *,
        private_key: PrivateKey,
        site: str,
        epsilon_limit: float,
        delta_limit: float,
        rehearsal: bool = False,
        insecure_noise: bool = False,
        interval: float = 1e-4,
    ) -> Ledger:
        """Makes the ledger of a new home; its limits hold for life.

        Args:
          home: the site's folder; made with mode 0700 if it does not exist.
          private_key: signs every entry.
          site: the site's name.
          epsilon_limit: the most that the records may ever cost, at `delta_limit`.
          delta_limit: at which everything in this home is priced.
          rehearsal: the home was made by a simulation and covers that run alone.
          insecure_noise: noise comes from a seed; whatever is answered is not private.
          interval: grid of the PLD accountant; anything but 1e-4 is for tests.

        Raises:
          ConfigError: a limit is unusable, or the home has a ledger.
          HomeInUseError: another process holds the home.
        """
        if not (math.isfinite(epsilon_limit) and epsilon_limit > 0):
            raise ConfigError(f"expected an epsilon limit above 0, got {epsilon_limit}")
        genesis = {
            "format": FORMAT,
            "site": site,
            "public_key": public_key_hex(private_key),
            "epsilon_limit": float(epsilon_limit),
            "delta_limit": float(delta_limit),
            "renyi_order": lifetime_renyi_order(epsilon_limit, delta_limit),
            "rehearsal": rehearsal,
            "insecure_noise": insecure_noise,
        }
        check_data("genesis", genesis)
        state = State()
        state.apply("genesis", genesis)
        return cls(Journal.create(home, private_key, genesis), state, interval)

    @classmethod
    def open(cls, home: Path, private_key: PrivateKey, *, interval: float = 1e-4) -> Ledger:
        """Opens a home's ledger for writing, after checking everything in it.

        Raises:
          LedgerError: damaged, cut, replaced by an older copy, or signed with another key.
          HomeInUseError: another process holds the home.
        """
        journal, state = Journal.open(home, private_key)
        return cls(journal, state, interval)

    def close(self) -> None:
        """Closes and seals the ledger; a second call does nothing."""
        with self._mutex:
            self._journal.close()

    def __enter__(self) -> Ledger:
        """Returns the ledger itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes the ledger."""
        self.close()

    @property
    def head(self) -> tuple[int, str]:
        """The number and hash of the last entry."""
        with self._mutex:
            last = self._journal.entries[-1]
            return last.seq, last.hash

    @property
    def genesis_hash(self) -> str:
        """The hash of the first entry, which all copies of this ledger share."""
        with self._mutex:
            return self._journal.entries[0].hash

    @property
    def lost(self) -> tuple[int, ...]:
        """Of each epoch that a restoration ended, up to which entry all counts as spent."""
        with self._mutex:
            return self._state.lost

    @property
    def seen(self) -> SeenHeads:
        """The heads of fellow sites that are remembered."""
        with self._mutex:
            return self._journal.seen

    def links(self, seen: SeenHead) -> tuple[str, ...] | None:
        """Returns what links an earlier head of this ledger to its present one.

        Returns:
          The SHA-256 of the body of each entry since; None if this ledger does not go on from
          there: it was cut, or another copy was put in its place.
        """
        with self._mutex:
            entries = self._journal.entries
            if seen.epoch != len(self._state.lost):
                below = seen.epoch < len(self._state.lost)
                return () if below and self._state.lost[seen.epoch] >= seen.seq else None
            if seen.seq >= len(entries) or entries[seen.seq].hash != seen.hash:
                return None
            return tuple(entry.body_sha256 for entry in entries[seen.seq + 1 :])

    def all_links(self) -> tuple[str, ...]:
        """Returns the SHA-256 of the body of each entry after the first."""
        with self._mutex:
            return tuple(entry.body_sha256 for entry in self._journal.entries[1:])

    def answered_since(self, seen: SeenHead) -> set[tuple[str, str]] | None:
        """Returns plan and run of all answers that were committed after an earlier head.

        None if this ledger does not go on from there; see `links`.
        """
        with self._mutex:
            links = self.links(seen)
            if links is None:
                return None
            bodies = [entry.read() for entry in self._journal.entries[-len(links) :] if links]
            return {(b.data["plan"], b.data["run"]) for b in bodies if b.kind == "commit"}

    def is_unfinished(self, plan: str, run: str) -> bool:
        """Whether a run of a plan is reserved and not finished."""
        with self._mutex:
            known = self._state.find(plan, run)
            return known is not None and not known.finished

    @property
    def site(self) -> str:
        """The site's name, as in the genesis entry."""
        return str(self._state.genesis["site"])

    @property
    def rehearsal(self) -> bool:
        """Whether this ledger covers a simulation's run alone."""
        return bool(self._state.genesis["rehearsal"])

    @property
    def insecure_noise(self) -> bool:
        """Whether the home is stamped for noise from a seed."""
        return bool(self._state.genesis["insecure_noise"])

    def admission(self, event: DpEvent, policy: Limits | None = None) -> Admission:
        """Says whether a plan with this event would fit now; writes nothing."""
        with self._mutex:
            return admission(self._state, event, policy, self._interval)

    def budget(self) -> dict[str, Any]:
        """Returns the budget, as `LedgerView.budget` does."""
        with self._mutex:
            return budget(self._state, interval=self._interval)

    def reserve(self, *, plan: str, run: str, event: DpEvent, policy: Limits | None = None) -> None:
        """Sets aside what a run of an approved plan may cost; the same run again is free.

        The first run under a grant needs room for all of its runs; they are held from then on. If
        `policy` is stricter than the ledger's limits, it binds, also where it has become so since.

        Raises:
          BudgetExceededError: no room is left; nothing is written.
          NotApprovedError: the plan is not approved or its runs are used, or the site is paused.
          RefusedError: the run is finished, or the event is not the approved one.
          IncompleteError: the disk did not take the entry; nothing is written.
        """
        with self._mutex:
            self._journal.check_usable()
            known = self._state.find(plan, run)
            if known and not known.finished and steps_of([known.event]) == steps_of([event]):
                self._state.check_run(plan, run)
                admit_run(self._state, plan, policy, self._interval)
                return
            data = {"plan": plan, "run": run, "event": event_to_json(event)}
            self._state.check("reserve", data)
            admit_run(self._state, plan, policy, self._interval)
            self._append("reserve", data)

    def open_attempt(
        self,
        *,
        plan: str,
        run: str,
        round: int,
        attempt: int,
        query: str,
        roster: Sequence[str],
        request_digest: str,
        event: DpEvent,
        void: Sequence[Sequence[str]] = (),
        seen: Mapping[str, SeenHead] | None = None,
    ) -> None:
        """Records, before any record is read, that an attempt will be answered.

        `roster` names the sites that are asked, sorted; a secure sum opens with all of them alone.
        `void` holds the rosters of the round's earlier attempts, of which this site may not have
        seen all. `seen` holds the heads of fellow sites that the request names, by signing key;
        they are remembered with the entry.

        An attempt that is open already, for the same request, is left as it is: after a crash it
        is computed again. A later attempt voids an unanswered earlier one of the same round.

        Raises:
          RefusedError: the reservation has no such steps left, the attempt was answered or void,
            a later one was opened, it is open for another request, or the earlier attempts are
            not those that this site knows.
          NotApprovedError: the plan is revoked, or the site is paused.
          IncompleteError: the disk did not take the entry.
        """
        with self._mutex:
            data = {
                "plan": plan,
                "run": run,
                "round": round,
                "attempt": attempt,
                "query": query,
                "roster": list(roster),
                "void": [list(earlier) for earlier in void],
                "request_digest": request_digest,
                "event": event_to_json(event),
            }
            remembered = self._journal.seen.with_run(plan, run, dict(seen or {}))
            known = self._known(plan, run, round, attempt)
            if known is not None and known.request_digest != request_digest:
                raise _other_request(round, attempt)
            if known is not None and known.pending:
                self._state.check("commit", {**data, "answer_digest": ""})
                if event_to_json(known.event) == data["event"]:
                    self._journal.remember(remembered)
                    return
            self._append("open", data, seen=remembered)

    def commit(self, *, plan: str, run: str, round: int, attempt: int, arrays: Arrays) -> None:
        """Charges an open attempt and stores its answer, in one transaction, before it is sent.

        The entry holds the digest of the arrays as they leave the site, masks included, so that
        whoever is shown them can tell that they are the ones that were answered.

        Raises:
          RefusedError: the attempt is not open.
          NotApprovedError: the plan was revoked or the site paused meanwhile; nothing may leave.
          IncompleteError: the disk did not take the answer; nothing may leave.
        """
        with self._mutex:
            known = self._known(plan, run, round, attempt)
            request_digest = known.request_digest if known else "-"
            stored = StoredAnswer(
                key=(plan, run, round, attempt), request_digest=request_digest, arrays=arrays
            )
            data = {
                "plan": plan,
                "run": run,
                "round": round,
                "attempt": attempt,
                "request_digest": request_digest,
                "answer_digest": arrays_digest(arrays),
            }
            self._append("commit", data, answer=stored)

    def stored_answer(
        self, *, plan: str, run: str, round: int, attempt: int, request_digest: str
    ) -> Arrays | None:
        """Returns the answer that was committed for this very request, free of charge.

        Raises:
          RefusedError: the attempt was opened for another request.
        """
        with self._mutex:
            known = self._known(plan, run, round, attempt)
            if known is None:
                return None
            if known.request_digest != request_digest:
                raise _other_request(round, attempt)
            return self._journal.answer((plan, run, round, attempt))

    def finish(self, plan: str, run: str) -> None:
        """Ends a run: only what was committed counts from now on, and stored answers are erased.

        A run of which nothing was committed gives its use of the grant back.
        """
        with self._mutex:
            known = self._state.find(plan, run)
            if known is not None and known.finished:
                return
            data = {"plan": plan, "run": run, "entries": self._state.entries_about(plan)}
            seen = self._journal.seen.without_run(plan, run)
            self._append("finish", data, forget=(plan, run), seen=seen)

    def record_release(self, *, plan: str, run: str, digest: str) -> None:
        """Records the digest of a release that was built on a run."""
        self._append("release", {"plan": plan, "run": run, "digest": digest})

    def extract(self, plan: str, run: str) -> list[dict[str, Any]]:
        """Returns the signed chain for those who see this plan; other bodies are left out.

        It ends where a run of the plan was last finished.

        Raises:
          ConfigError: the run is not in this ledger, or is not finished.
        """
        with self._mutex:
            return extract_entries(self._journal.entries, self._state, plan, run)

    def _known(self, plan: str, run: str, round_number: int, attempt: int) -> Attempt | None:
        reservation = self._state.find(plan, run)
        return None if reservation is None else reservation.attempts.get((round_number, attempt))


def _other_request(round_number: int, attempt: int) -> RefusedError:
    return RefusedError(
        f"attempt {attempt} of round {round_number} was opened for another request; the same "
        "attempt is answered for the same request alone: ask under the next attempt number"
    )
