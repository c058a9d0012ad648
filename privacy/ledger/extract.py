"""A ledger's extract: what one study's auditors see of it, and how they check it without the file.

The extract has every entry of the chain, in order. The genesis entry and the entries of one plan
are whole; of all others only number, hashes and signature are given. An extract proves what was
reserved and answered for this plan, and that nothing was altered; what the hidden entries say,
it does not tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fedloom.common.errors import ConfigError, LedgerError
from fedloom.privacy.events import DpEvent
from fedloom.privacy.ledger.entries import Entry, verify_chain
from fedloom.privacy.ledger.state import State, replay

__all__ = ["ExtractSummary", "RunSummary", "extract_entries", "verify_extract"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """What one run reserved and what it answered."""

    plan: str
    run: str
    reserved: DpEvent
    committed: tuple[DpEvent, ...]
    answers: tuple[str, ...]
    """SHA-256 of every answer, in the order of `committed`."""
    finished: bool
    releases: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractSummary:
    """What a checked extract says."""

    site: str
    public_key: str
    rehearsal: bool
    insecure_noise: bool
    epsilon_limit: float
    delta_limit: float
    head: tuple[int, str]
    num_hidden: int
    approvals: dict[str, dict[str, Any]]
    runs: tuple[RunSummary, ...]

    def run(self, plan: str, run: str) -> RunSummary:
        """Returns the summary of one run.

        Raises:
          LedgerError: the extract does not show this run.
        """
        for summary in self.runs:
            if (summary.plan, summary.run) == (plan, run):
                return summary
        raise LedgerError(
            f"the extract of site {self.site} does not show run {run} of plan {plan[:12]}; "
            "ask the site for the extract of this run"
        )


def extract_entries(
    entries: Sequence[Entry], state: State, plan: str, run: str
) -> list[dict[str, Any]]:
    """Returns the chain with the bodies of other plans left out.

    All runs of the plan are shown: an auditor must see whether one was picked out of many.

    Raises:
      ConfigError: there is no such run.
    """
    if state.find(plan, run) is None:
        raise ConfigError(f"run {run} of plan {plan[:12]} is not in this ledger")
    shown = []
    for entry in entries:
        own = entry.seq == 0 or entry.read().data.get("plan") == plan
        shown.append((entry if own else entry.redacted()).to_dict())
    return shown


def verify_extract(extract: Sequence[dict[str, Any]], public_key: str) -> ExtractSummary:
    """Checks an extract: chain, signatures, and that it keeps the rules of the ledger.

    Every answer shown was opened before, every open fits its reservation, every reservation was
    approved.

    Args:
      extract: what `Ledger.extract` returned.
      public_key: the site's key as the auditor knows it (from the plan or the manifest).

    Raises:
      LedgerError: names the entry that is wrong.
    """
    entries = [Entry.from_dict(value) for value in extract]
    if not entries:
        raise LedgerError("the extract is empty; ask the site for a whole one")
    verify_chain(entries, public_key)
    state = replay(entries)
    if state.genesis["public_key"] != public_key:
        raise LedgerError("the extract's genesis entry names another key than the one expected")
    runs = []
    for r in state.reservations.values():
        answered = [a for a in r.attempts.values() if a.answer_digest is not None]
        runs.append(
            RunSummary(
                plan=r.plan,
                run=r.run,
                reserved=r.event,
                committed=tuple(a.event for a in answered),
                answers=tuple(str(a.answer_digest) for a in answered),
                finished=r.finished,
                releases=tuple(r.releases),
            )
        )
    return ExtractSummary(
        site=state.genesis["site"],
        public_key=public_key,
        rehearsal=state.genesis["rehearsal"],
        insecure_noise=state.genesis["insecure_noise"],
        epsilon_limit=state.genesis["epsilon_limit"],
        delta_limit=state.genesis["delta_limit"],
        head=(entries[-1].seq, entries[-1].hash),
        num_hidden=sum(entry.body is None for entry in entries),
        approvals={plan: dict(data) for plan, data in state.approvals.items()},
        runs=tuple(runs),
    )
