"""A read-only view of a home's ledger; works beside the vault that writes it.

Reading changes no file of the home, and checks everything that the writer checks at its start.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from fedloom.common.errors import BudgetExceededError, ConfigError, LedgerError
from fedloom.privacy.accounting import epsilon_pld
from fedloom.privacy.events import DpEvent
from fedloom.privacy.ledger.budget import Admission, admission, admit_run, budget, limits_of
from fedloom.privacy.ledger.entries import Entry
from fedloom.privacy.ledger.extract import extract_entries
from fedloom.privacy.ledger.grants import Grant
from fedloom.privacy.ledger.head import HomeLock, ledger_path, read_head
from fedloom.privacy.ledger.limits import Limits
from fedloom.privacy.ledger.loading import LoadedLedger, check_seal, load, sqlite_errors
from fedloom.privacy.ledger.rotation import RotationEntry, rotations_in
from fedloom.privacy.ledger.seen_heads import SeenHeads
from fedloom.privacy.ledger.state import State
from fedloom.privacy.ledger.store import Store, UnsettledError, open_to_read

__all__ = ["LedgerView", "compose_homes", "read_ledger", "settled"]

T = TypeVar("T")

_TRIES = 100
_PAUSE_S = 0.02


class LedgerView:
    """A ledger as it was at the moment of reading."""

    def __init__(self, entries: Sequence[Entry], state: State, seen: SeenHeads) -> None:
        """Takes over what `read_ledger` has checked."""
        self.entries = tuple(entries)
        self.seen = seen
        self._state = state

    @property
    def site(self) -> str:
        """The site's name."""
        return str(self._state.genesis["site"])

    @property
    def public_key(self) -> str:
        """The key that signs the entries now; compare it with the one that you know."""
        return self._state.signing_keys[-1]

    @property
    def former_keys(self) -> tuple[str, ...]:
        """Those that signed before, in order; each has handed the ledger on to the next."""
        return self._state.signing_keys[:-1]

    @property
    def rotations(self) -> tuple[RotationEntry, ...]:
        """The entries that changed the site's keys, in order."""
        return rotations_in(self.entries)

    @property
    def delta_limit(self) -> float:
        """The delta at which everything in this home is priced."""
        return float(self._state.genesis["delta_limit"])

    @property
    def head(self) -> tuple[int, str]:
        """The number and hash of the last entry."""
        return self.entries[-1].seq, self.entries[-1].hash

    @property
    def lost(self) -> tuple[int, ...]:
        """Of each epoch that a restoration ended, up to which entry all counts as spent."""
        return self._state.lost

    @property
    def unit(self) -> str | None:
        """What the losses are for: "record", "person", or None before the first approval."""
        return None if self._state.unit is None else self._state.unit[0]

    @property
    def committed(self) -> list[DpEvent]:
        """The events of everything that has left."""
        return self._state.committed

    @property
    def held(self) -> list[DpEvent]:
        """Everything that has left, and all that unfinished runs still hold."""
        return self._state.held

    def approval(self, plan: str) -> dict[str, Any] | None:
        """Returns the approval of a plan as recorded, or None if there is none or it is revoked."""
        return self._state.approval(plan)

    @property
    def open_plans(self) -> dict[str, str]:
        """Names of the studies, by plan, of whose last approval something is left."""
        return self._state.open_plans

    def grants(self, plan: str) -> tuple[Grant, ...]:
        """Returns all that was ever approved of a plan, in order, with its runs."""
        return tuple(self._state.grants.get(plan, ()))

    def contains_head(self, seq: int, entry_hash: str) -> bool:
        """Tells whether the chain still has the entry that someone saw as its head."""
        return 0 <= seq < len(self.entries) and self.entries[seq].hash == entry_hash

    def budget(self, policy: Limits | None = None, interval: float = 1e-4) -> dict[str, Any]:
        """Returns limits, what is spent and held, and the studies, as a JSON-able dict."""
        return budget(self._state, policy, interval)

    def limits(self, policy: Limits | None = None) -> Limits:
        """Returns the limits that bind: the smaller of the ledger's and the policy's."""
        return limits_of(self._state).within(policy)

    def admission(
        self, event: DpEvent, policy: Limits | None = None, interval: float = 1e-4
    ) -> Admission:
        """Says whether a plan with this event would fit now, also into the steward's policy."""
        return admission(self._state, event, policy, interval)

    def extract(self, plan: str, run: str) -> list[dict[str, Any]]:
        """Returns the signed chain for those who see this plan, as `Ledger.extract` does."""
        return extract_entries(self.entries, self._state, plan, run)

    def verify(self, interval: float = 1e-4) -> None:
        """Prices every grant again, as the writer had to before its first run was reserved.

        Hashes, signatures and the rules of the ledger were checked when it was read.

        Raises:
          LedgerError: a reservation was beyond the home's limit.
        """
        state = State()
        for entry in self.entries:
            body = entry.read()
            if body.kind == "reserve":
                try:
                    admit_run(state, body.data["plan"], interval=interval)
                except BudgetExceededError as error:
                    raise LedgerError(
                        f"entry {entry.seq} reserves more than the limit allows: {error}; this "
                        "ledger was not written by fedloom's rules, do not rely on it"
                    ) from error
            state.apply(body.kind, body.data)


def read_ledger(home: Path) -> LedgerView:
    """Reads and checks the ledger of a home.

    Raises:
      ConfigError: there is none.
      LedgerError: it is damaged, cut or replaced by an older copy.
    """
    if not ledger_path(home).is_file() and not (home / "ledger.head").is_file():
        raise ConfigError(f"there is no ledger in {home}; name the home of a site")
    return settled(home, lambda _, loaded: LedgerView(loaded.entries, loaded.state, loaded.seen))


def settled(home: Path, use: Callable[[Store, LoadedLedger], T]) -> T:
    """Reads and checks a home's ledger, and returns what `use` makes of it; nothing is changed.

    Raises:
      LedgerError: it is damaged, cut or replaced by an older copy.
    """
    for _ in range(_TRIES):
        try:
            return _read(home, use)
        except UnsettledError:
            time.sleep(_PAUSE_S)
    raise LedgerError(f"the ledger of {home} is being opened and closed all the time; try again")


def _read(home: Path, use: Callable[[Store, LoadedLedger], T]) -> T:
    lock = HomeLock.for_reader(home)
    try:
        head = read_head(home)
        if lock is not None:
            check_seal(home, head)
        with sqlite_errors(home), open_to_read(home, writer_at_work=lock is None) as store:
            return use(store, load(store, head, home))
    finally:
        if lock is not None:
            lock.release()


def compose_homes(
    views: Sequence[LedgerView], delta: float | None = None, interval: float = 1e-4
) -> float:
    """Bounds what the homes have cost one unit that may be in all of them.

    For unit "record" that is somebody with one row in each home, for "person" somebody with rows
    in each, up to every plan's cap. A plan whose `overlap` is m is already priced at each of its
    sites for a person at m of them, so composing those sites counts it more often than need be:
    the bound holds and is not tight.

    Args:
      views: at least one home.
      delta: by default the smallest of the homes' own.
      interval: grid of the PLD accountant.

    Raises:
      ConfigError: no home is given, or their units differ.
    """
    if not views:
        raise ConfigError("expected at least one home to compose")
    units = {view.unit for view in views} - {None}
    if len(units) > 1:
        raise ConfigError(
            "the homes cannot be composed: the losses of some are for one record and of others "
            "for one person, and one says nothing about the other; name homes of one unit"
        )
    chosen = min(view.delta_limit for view in views) if delta is None else delta
    return epsilon_pld([event for view in views for event in view.committed], chosen, interval)
