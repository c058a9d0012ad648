"""A ledger's extract: what one study's auditors see of it, and how they check it without the file.

The extract has every entry of the chain, in order, up to where a run of one plan was last finished.
The genesis entry, changes of the site's keys, the entries about this plan and those about the plans
that learned its schema are whole; of all others only number, hashes and signature are given. A
release on a learned schema publishes what those plans answered, too, so its auditors must see what
they cost.

An extract proves what was granted, reserved and answered for these plans up to its end, and that
nothing was altered. No entry about them can be left out: the last one is the end of a run, signed
by the site, and names them all. What the hidden entries say, it does not tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fedloom.common.errors import ConfigError, LedgerError
from fedloom.privacy.events import DpEvent
from fedloom.privacy.ledger.chain import verify_chain
from fedloom.privacy.ledger.entries import ROTATED, Entry
from fedloom.privacy.ledger.grants import Grant
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
    """`arrays_digest` of every answer as it left the site, in the order of `committed`."""
    finished: bool
    releases: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractSummary:
    """What a checked extract says."""

    site: str
    plan: str
    """The plan whose entries are shown, all of them."""
    public_key: str
    """That signed the last entry, and all about the plan."""
    former_keys: tuple[str, ...]
    """Keys that the site signed with before, in order; each handed the chain on to the next."""
    rehearsal: bool
    insecure_noise: bool
    epsilon_limit: float
    delta_limit: float
    head: tuple[int, str]
    num_hidden: int
    grants: tuple[Grant, ...]
    """All that was approved of the plan, in order."""
    learned: dict[str, tuple[Grant, ...]]
    """The same of each plan that learned its schema; empty where the site did not take part."""
    runs: tuple[RunSummary, ...]
    """All runs of the plan."""

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
    """Returns the chain to the last end of a run of the plan, without the bodies of other plans.

    All runs of the plan are shown: an auditor must see whether one was picked out of many.

    Raises:
      ConfigError: there is no such run, or it is not finished.
    """
    reservation = state.find(plan, run)
    if reservation is None or not reservation.finished:
        raise ConfigError(f"run {run} of plan {plan[:12]} is not in this ledger, or not finished")
    shown, end, family = [], 0, state.family(plan)
    for entry in entries:
        body = entry.read()
        own = body.data.get("plan")
        whole = own in family or entry.seq == 0 or body.kind == ROTATED
        shown.append((entry if whole else entry.redacted()).to_dict())
        if own == plan and body.kind == "finish":
            end = len(shown)
    return shown[:end]


def verify_extract(extract: Sequence[dict[str, Any]], public_key: str) -> ExtractSummary:
    """Checks an extract: chain, signatures, and that it keeps the rules of the ledger.

    Every answer shown was opened before, every open fits its reservation, every reservation was
    approved, and the last entry names all entries about its plan, and all of them are shown.

    Args:
      extract: what `Ledger.extract` returned.
      public_key: the site's key as the plan names it; the chain must lead to it.

    Raises:
      LedgerError: names the entry that is wrong.
    """
    entries = [Entry.from_dict(value) for value in extract]
    if not entries:
        raise LedgerError("the extract is empty; ask the site for a whole one")
    in_force = verify_chain(entries, str(entries[0].read().data.get("public_key", "")))
    state = replay(entries)
    plan = _plan_of(entries, state)
    if in_force != public_key:
        raise LedgerError(
            "the extract ends under another key than the one that the plan names for the site; "
            "do not rely on it, and ask the site for the extract of this plan"
        )
    runs = []
    for r in (run for grant in state.grants[plan] for run in grant.runs):
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
        plan=plan,
        public_key=public_key,
        former_keys=state.signing_keys[:-1],
        rehearsal=state.genesis["rehearsal"],
        insecure_noise=state.genesis["insecure_noise"],
        epsilon_limit=state.genesis["epsilon_limit"],
        delta_limit=state.genesis["delta_limit"],
        head=(entries[-1].seq, entries[-1].hash),
        num_hidden=sum(entry.body is None for entry in entries),
        grants=tuple(state.grants[plan]),
        learned={
            name: tuple(state.grants.get(name, ())) for name in sorted(state.family(plan) - {plan})
        },
        runs=tuple(runs),
    )


def _plan_of(entries: Sequence[Entry], state: State) -> str:
    """Returns the plan that all shown entries are about, and whose last end is the last entry."""
    bodies = [entry.read() for entry in entries[1:] if entry.body is not None]
    shown = [body for body in bodies if body.kind != ROTATED]
    if len(entries) < 2 or entries[-1].body is None or bodies[-1].kind != "finish":
        raise LedgerError(
            "the extract does not end where a run of its plan was finished, so entries about the "
            "plan may be missing; ask the site for a whole one"
        )
    plan = str(shown[-1].data["plan"])
    if any(body.data.get("plan") not in state.family(plan) for body in shown):
        raise LedgerError("the extract shows entries about another plan; ask the site for another")
    return plan
