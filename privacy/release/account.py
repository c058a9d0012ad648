"""What a site's signed ledger extract shows about one plan, checked before it is believed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedloom.common.errors import LedgerError
from fedloom.privacy.accounting import (
    DpEvent,
    Step,
    epsilon_pld,
    event_from_json,
    steps_of,
)
from fedloom.privacy.ledger import RunSummary, verify_extract
from fedloom.privacy.ledger.entries import Entry
from fedloom.privacy.plan import Plan
from fedloom.privacy.release.learned_account import LearnedAccount, learned_accounts

__all__ = ["AnsweredAttempt", "SiteAccount", "account_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnsweredAttempt:
    """One attempt at a round that a site answered, and was charged for.

    Attributes:
      round: of the plan.
      attempt: from 1; only a secure sum asks a round again.
      roster: names of the sites that were asked, sorted.
      request_digest: of the whole request, roster included.
      answer_digest: `arrays_digest` of the answer as it left the site, masked in a secure sum.
      event: what it cost.
    """

    round: int
    attempt: int
    roster: tuple[str, ...]
    request_digest: str
    answer_digest: str
    event: DpEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteAccount:
    """One site's part in a plan, as its ledger shows it.

    Attributes:
      site: name of the site.
      key: public key that signed all about the plan; the plan names it for this site.
      former_keys: keys that signed before, in order; each handed the ledger on to the next.
      seq: number of the last entry of the extract.
      head: hash of that entry.
      hashes: of all entries up to there, in order.
      answered: the attempts of the run that the site answered, in order; some may be void.
      all_events: the same over all runs of the plan, among which this one may have been chosen.
      runs: how many runs of the plan answered anything.
      runs_priced: how many runs of the plan answered, or may still answer under an approval.
      epsilon_limit: what the site allows over the life of its records.
      delta_limit: the delta of that limit.
      left_out: entries about other studies up to there; the extract holds their hashes alone.
      learned: what each study that learned the plan's schema cost there.
      rehearsal: the ledger was made by and for a simulation.
      insecure: the site's noise came from a known seed.
    """

    site: str
    key: str
    former_keys: tuple[str, ...]
    seq: int
    head: str
    hashes: tuple[str, ...]
    answered: tuple[AnsweredAttempt, ...]
    all_events: tuple[DpEvent, ...]
    runs: int
    runs_priced: int
    epsilon_limit: float
    delta_limit: float
    left_out: int
    learned: tuple[LearnedAccount, ...]
    rehearsal: bool
    insecure: bool

    @property
    def rounds(self) -> int:
        """How many rounds the site answered, in one attempt or in several."""
        return len({answer.round for answer in self.answered})

    def epsilon(self, delta: float) -> float:
        """Returns the loss of what the site answered in this run, by PLD."""
        return epsilon_pld([answer.event for answer in self.answered], delta)

    def epsilon_of_all_runs(self, delta: float) -> float:
        """Returns the loss of what the site answered in all runs of the plan, by PLD."""
        return epsilon_pld(self.all_events, delta)


def account_of(extract: Mapping[str, Any], plan: Plan, run: str, site: str) -> SiteAccount:
    """Checks an extract and reads what it says about a run of a plan.

    Checked are the chain and each signature, by the key that the plan names for the site, or by
    earlier ones that have handed the ledger on to it; that no entry about the plan is hidden; that
    it was approved for the plan's unit of privacy and coordinator; that the run was reserved for
    exactly this plan, at the plan's event, and is finished; that no round beyond the plan's was
    answered, and none at another price; and that all attempts together, void ones included, fit
    what was reserved. Without a secure sum no round has more than one.

    Args:
      extract: `public_key` and `entries`, as a run folder and a release hold them.
      plan: the plan.
      run: the run's name.
      site: whose extract it should be.

    Raises:
      LedgerError: something of this does not hold.
      StudyError: the plan has no such site.
    """
    key = plan.site(site).key
    entries = extract.get("entries")
    if (
        key is None
        or set(extract) != {"public_key", "entries"}
        or extract["public_key"] != key
        or not isinstance(entries, list)
    ):
        raise LedgerError(
            f"the ledger extract of {site} is not signed by the key that the plan names for it; "
            "ask the site for its extract of this plan"
        )
    summary = verify_extract(entries, key)
    if summary.plan != plan.digest():
        raise LedgerError(f"the ledger extract of {site} is that of another plan")
    if summary.site != site:
        raise LedgerError(f"the ledger extract of {site} is that of {summary.site}")
    approved, privacy = summary.grants[-1].approval, plan.privacy
    if approved["coordinator"] != plan.coordinator_key:
        raise LedgerError(f"{site} approved the plan for another coordinator's key than the plan's")
    if (approved["unit"], approved["id"]) != (privacy.unit, privacy.id):
        raise LedgerError(f"{site} approved the plan for another unit of privacy than the plan's")
    if approved["learned"] != sorted({origin.plan for origin in plan.schema.learned}):
        raise LedgerError(f"{site} approved the plan with another schema than the plan's")
    this = summary.run(plan.digest(), run)
    answered = _answered(entries, plan.digest(), run)
    _check_rounds(this, answered, plan, site)
    all_runs = [other for other in summary.runs if other.plan == this.plan and other.committed]
    return SiteAccount(
        site=site,
        key=key,
        former_keys=summary.former_keys,
        seq=summary.head[0],
        head=summary.head[1],
        hashes=tuple(str(entry["hash"]) for entry in entries),
        answered=tuple(answered),
        all_events=tuple(event for other in all_runs for event in other.committed),
        runs=len(all_runs),
        runs_priced=sum(grant.num_priced for grant in summary.grants),
        epsilon_limit=float(summary.epsilon_limit),
        delta_limit=float(summary.delta_limit),
        left_out=summary.num_hidden,
        learned=learned_accounts(plan.schema.learned, summary.learned, site),
        rehearsal=summary.rehearsal,
        insecure=summary.insecure_noise,
    )


def _answered(entries: Sequence[Mapping[str, Any]], plan: str, run: str) -> list[AnsweredAttempt]:
    """Reads a run's answered attempts from a checked extract, in order of round and attempt."""
    opened: dict[tuple[int, int], Mapping[str, Any]] = {}
    found = {}
    for value in entries:
        entry = Entry.from_dict(dict(value))
        body = None if entry.body is None else entry.read()
        if body is None or body.kind not in ("open", "commit"):
            continue
        if (body.data["plan"], body.data["run"]) != (plan, run):
            continue
        attempt = body.data["round"], body.data["attempt"]
        if body.kind == "open":
            opened[attempt] = body.data
        else:
            found[attempt] = AnsweredAttempt(
                round=attempt[0],
                attempt=attempt[1],
                roster=tuple(opened[attempt]["roster"]),
                request_digest=str(body.data["request_digest"]),
                answer_digest=str(body.data["answer_digest"]),
                event=event_from_json(opened[attempt]["event"]),
            )
    return [found[attempt] for attempt in sorted(found)]


def _check_rounds(
    run: RunSummary, answered: Sequence[AnsweredAttempt], plan: Plan, site: str
) -> None:
    if not run.finished:
        raise LedgerError(
            f"the ledger extract of {site} ends before its run does; ask the site for a whole one"
        )
    reserved = steps_of([run.reserved])
    if reserved != steps_of([plan.event()]):
        raise LedgerError(f"{site} reserved another price than that of this plan")
    planned = {asked.round: _form(asked.event) for asked in plan.rounds}
    for answer in answered:
        if planned.get(answer.round) != _form(answer.event):
            raise LedgerError(
                f"{site} answered rounds that the plan does not have, or at other prices"
            )
    if plan.colluding is None and len({answer.round for answer in answered}) != len(answered):
        raise LedgerError(f"{site} answered a round twice, which only a secure sum may")
    spent = steps_of([answer.event for answer in answered])
    if any(count > reserved[step] for step, count in spent.items()):
        raise LedgerError(f"{site} answered more attempts than the plan reserves")


def _form(event: DpEvent) -> tuple[tuple[Step, int], ...]:
    return tuple(sorted(steps_of([event]).items()))
