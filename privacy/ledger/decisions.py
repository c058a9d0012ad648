"""What a steward decides, written into a home's ledger: approvals, their end, pauses."""

from __future__ import annotations

from collections.abc import Sequence
from threading import RLock
from typing import Any

from fedloom.common.typed import plain
from fedloom.privacy.events import DpEvent, event_to_json
from fedloom.privacy.keys import PrivateKey
from fedloom.privacy.ledger.entries import ROTATED, check_data
from fedloom.privacy.ledger.grants import Grant
from fedloom.privacy.ledger.journal import Journal
from fedloom.privacy.ledger.rotation import KeyRotation, RotationEntry, SiteKeys, rotations_in
from fedloom.privacy.ledger.seen_heads import SeenHeads
from fedloom.privacy.ledger.state import State
from fedloom.privacy.ledger.store import StoredAnswer

__all__ = ["Decisions"]


class Decisions:
    """The steward's part of an open ledger; methods may be called from any thread."""

    def __init__(self, journal: Journal, state: State, interval: float) -> None:
        """Takes over what `create` and `open` have prepared."""
        self._journal, self._state, self._interval = journal, state, interval
        self._mutex = RLock()

    @property
    def is_paused(self) -> bool:
        """Whether the steward has paused the site."""
        return self._state.paused

    def approve(
        self,
        *,
        study: str,
        plan: str,
        name: str,
        unit: str,
        id: str | None,
        coordinator: str,
        event: DpEvent,
        runs: int,
        learned: Sequence[str],
        snapshot_commitment: str,
        summary: dict[str, Any],
    ) -> None:
        """Records the steward's grant of runs of a plan (by its digest), and the records' snapshot.

        Args:
          study: the study's digest.
          plan: the plan's digest.
          name: the study's name.
          unit: whom the plan's price is for: "record" or "person".
          id: the column that tells persons apart; None for records.
          coordinator: the public key that signs the plan's requests.
          event: what one run of the plan costs one unit.
          runs: how many runs are granted.
          learned: digests of the plans that learned the plan's schema.
          snapshot_commitment: see `fedloom.client.records.freeze`.
          summary: what the steward was told.

        Raises:
          RefusedError: the home is for another unit, or an earlier grant has not ended.
        """
        self._append(
            "approve",
            {
                "study": study,
                "plan": plan,
                "name": name,
                "unit": unit,
                "id": id,
                "coordinator": coordinator,
                "event": event_to_json(event),
                "runs": runs,
                "learned": sorted(set(learned)),
                "snapshot_commitment": snapshot_commitment,
                "summary": summary,
            },
        )

    def check_grant(self, *, plan: str, unit: str, id: str | None, learned: Sequence[str]) -> None:
        """Checks that a plan can be approved, before anything is frozen for it.

        Raises:
          RefusedError: its price is for another unit than the home's, or a grant has not ended.
        """
        with self._mutex:
            data = {"plan": plan, "unit": unit, "id": id, "learned": sorted(set(learned))}
            self._state.check("approve", data)

    def revoke(self, plan: str) -> None:
        """Records that an approval ends; what runs of the plan hold stays held until finished."""
        self._append("revoke", {"plan": plan})

    def lose(self, plan: str, run: str | None = None) -> None:
        """Records that more may have been answered than the ledger holds: all of it counts.

        Args:
          plan: the plan.
          run: an unfinished run of it; None for its last grant with all runs.
        """
        self._append("lost", {"plan": plan, "run": run})

    def restore(self, lost: Sequence[int]) -> None:
        """Records that the home was restored from an older copy, as another epoch of its ledger.

        Args:
          lost: of each epoch before, up to which entry all counts as spent.

        Raises:
          RefusedError: an earlier restoration, or the ledger itself, goes beyond that.
        """
        self._append("restore", {"lost": list(lost)})

    def rotate(self, old: SiteKeys, new: SiteKeys, new_key: PrivateKey) -> RotationEntry:
        """Records that the site's keys change; from now on `new_key` signs.

        Args:
          old: public keys so far.
          new: those from now on; one that stays is the same.
          new_key: private half of `new.key`.

        Returns:
          The entry, which proves the new keys to everybody who knows the old signing key.

        Raises:
          RefusedError: a run is under way, or a plan that names a key which changes is approved.
          IncompleteError: the disk did not take the entry; the old keys stay.
        """
        with self._mutex:
            last, first = self._journal.entries[-1], self._journal.entries[0]
            said = KeyRotation(
                site=self._state.genesis["site"], ledger=first.hash, old=old, new=new
            )
            signed = said.countersigned(new_key, seq=last.seq + 1, prev=last.hash)
            self._append(ROTATED, plain(signed))
            self._journal.hand_on(new_key)
            return RotationEntry.of(self._journal.entries[-1])

    @property
    def rotations(self) -> tuple[RotationEntry, ...]:
        """The entries that changed the site's keys, in order."""
        with self._mutex:
            return rotations_in(self._journal.entries)

    @property
    def signing_keys(self) -> tuple[str, ...]:
        """Public keys that the site has signed with, in order; the last one is in force."""
        with self._mutex:
            return self._state.signing_keys

    def pause(self) -> None:
        """Records that nothing is reserved, opened or committed until `resume`."""
        if not self.is_paused:
            self._append("pause", {})

    def resume(self) -> None:
        """Ends a pause."""
        if self.is_paused:
            self._append("resume", {})

    def approval(self, plan: str) -> dict[str, Any] | None:
        """Returns the approval of a plan as recorded, or None if there is none or it is revoked."""
        with self._mutex:
            return self._state.approval(plan)

    def coordinator(self, plan: str) -> str | None:
        """Returns the key that signs requests for a plan, revoked since or not; None if unknown."""
        with self._mutex:
            return self._state.coordinator(plan)

    def grant(self, plan: str) -> Grant | None:
        """Returns the grant that holds for a plan or held last; None if there is none or revoked.

        One that is used up is returned as well; it is the ledger's own, to be read alone.
        """
        with self._mutex:
            return self._state.grant(plan)

    def grants(self, plan: str) -> tuple[Grant, ...]:
        """Returns all that was ever approved of a plan, in order, with its runs."""
        with self._mutex:
            return tuple(self._state.grants.get(plan, ()))

    @property
    def open_plans(self) -> dict[str, str]:
        """Names of the studies, by plan, of whose last approval something is left."""
        with self._mutex:
            return self._state.open_plans

    @property
    def plans(self) -> tuple[str, ...]:
        """Digests of all plans that were ever approved."""
        with self._mutex:
            return tuple(self._state.grants)

    def check_run(self, plan: str, run: str) -> None:
        """Checks that a run of a plan may go on, or begin, as far as the steward decided.

        Raises:
          NotApprovedError: the plan is not approved, its runs are used, or the site is paused.
          RefusedError: the run is finished.
        """
        with self._mutex:
            self._state.check_run(plan, run)

    def _append(
        self,
        kind: str,
        data: dict[str, Any],
        answer: StoredAnswer | None = None,
        forget: tuple[str, str] | None = None,
        seen: SeenHeads | None = None,
    ) -> None:
        with self._mutex:
            self._journal.check_usable()
            check_data(kind, data)
            self._state.check(kind, data)
            self._journal.append(kind, data, answer=answer, forget=forget, seen=seen)
            self._state.apply(kind, data)
