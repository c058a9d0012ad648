"""What a site's signed ledger extract shows about one plan, checked before it is believed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fedloom.common.errors import LedgerError
from fedloom.privacy.accounting import DpEvent, Step, epsilon_pld, steps_of
from fedloom.privacy.ledger import RunSummary, verify_extract
from fedloom.privacy.plan import Plan

__all__ = ["SiteAccount", "account_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteAccount:
    """One site's part in a plan, as its ledger shows it.

    Attributes:
      site: name of the site.
      key: public key that signed every entry; the plan names it for this site.
      seq: number of the last entry of the extract.
      head: hash of that entry.
      events: what each answered round of the run cost.
      all_events: the same over all runs of the plan, among which this one may have been chosen.
      runs: how many runs of the plan answered anything.
      epsilon_limit: what the site allows over the life of its records.
      delta_limit: the delta of that limit.
      left_out: entries about other studies up to there; the extract holds their hashes alone.
      rehearsal: the ledger was made by and for a simulation.
      insecure: the site's noise came from a known seed.
    """

    site: str
    key: str
    seq: int
    head: str
    events: tuple[DpEvent, ...]
    all_events: tuple[DpEvent, ...]
    runs: int
    epsilon_limit: float
    delta_limit: float
    left_out: int
    rehearsal: bool
    insecure: bool

    @property
    def commits(self) -> int:
        """How many rounds the site answered."""
        return len(self.events)

    def epsilon(self, delta: float) -> float:
        """Returns the loss of what the site answered in this run, by PLD."""
        return epsilon_pld(self.events, delta)

    def epsilon_of_all_runs(self, delta: float) -> float:
        """Returns the loss of what the site answered in all runs of the plan, by PLD."""
        return epsilon_pld(self.all_events, delta)


def account_of(extract: Mapping[str, Any], plan: Plan, run: str, site: str) -> SiteAccount:
    """Checks an extract and reads what it says about a run of a plan.

    Checked are the chain and each signature, by the key that the plan names for the site; that no
    entry about the plan is hidden; that the run was reserved for exactly this plan, at the plan's
    event, and is finished; and that no round beyond the plan's was answered, and none at another
    price.

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
    this = summary.run(plan.digest(), run)
    _check_rounds(this, plan, site)
    all_runs = [other for other in summary.runs if other.plan == this.plan and other.committed]
    return SiteAccount(
        site=site,
        key=key,
        seq=summary.head[0],
        head=summary.head[1],
        events=this.committed,
        all_events=tuple(event for other in all_runs for event in other.committed),
        runs=len(all_runs),
        epsilon_limit=float(summary.epsilon_limit),
        delta_limit=float(summary.delta_limit),
        left_out=summary.num_hidden,
        rehearsal=summary.rehearsal,
        insecure=summary.insecure_noise,
    )


def _check_rounds(run: RunSummary, plan: Plan, site: str) -> None:
    if not run.finished:
        raise LedgerError(
            f"the ledger extract of {site} ends before its run does; ask the site for a whole one"
        )
    if steps_of([run.reserved]) != steps_of([plan.event()]):
        raise LedgerError(f"{site} reserved another price than that of this plan")
    planned = Counter(_form(asked.event) for asked in plan.rounds)
    answered = Counter(_form(event) for event in run.committed)
    if not answered <= planned:
        raise LedgerError(f"{site} answered rounds that the plan does not have, or at other prices")


def _form(event: DpEvent) -> tuple[tuple[Step, int], ...]:
    return tuple(sorted(steps_of([event]).items()))
