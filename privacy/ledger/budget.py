"""What fits into a home's lifetime budget, and what is left of it.

The first plan of a home is admitted by its PLD price. Any further plan may have been chosen after
seeing answers to earlier ones, where adding up PLD is not valid, so all plans together must then
fit at one Rényi order that was fixed when the home was made. Why the two rules together are
rigorous: `docs/decisions/0002-lifetime-filter.md`. What is admitted and held is a grant, all its
runs together, whose number and noise are fixed beforehand: `docs/decisions/0013`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fedloom.common.errors import BudgetExceededError
from fedloom.privacy.accounting import epsilon_pld, epsilon_rdp, price
from fedloom.privacy.events import DpEvent, compose, repeat
from fedloom.privacy.ledger.grants import Grant
from fedloom.privacy.ledger.state import State

__all__ = ["Admission", "admission", "admit_run", "budget"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Whether a plan fits, by which rule, and what everything would then come to."""

    fits: bool
    rule: str
    """`first plan` (PLD of that plan alone) or `lifetime` (RDP of all plans at one order)."""
    epsilon: float
    limit: float
    delta: float


def admission(state: State, event: DpEvent, interval: float = 1e-4) -> Admission:
    """Says whether a plan with this event fits into what is left of the home's budget.

    A finished run counts for what it committed, an unfinished one for its whole reservation. A
    run that ended without any answer told nobody anything, and does not count.
    """
    limit, delta = state.genesis["epsilon_limit"], state.genesis["delta_limit"]
    live = state.live_grants
    if not live:
        rule, epsilon = "first plan", price([event], delta, interval).epsilon
    else:
        orders = [state.genesis["renyi_order"]]
        everything = [*state.held, event]
        largest_alone = max(epsilon_rdp([grant.whole], delta, orders) for grant in live)
        rule, epsilon = "lifetime", max(epsilon_rdp(everything, delta, orders), largest_alone)
    return Admission(fits=epsilon <= limit, rule=rule, epsilon=epsilon, limit=limit, delta=delta)


def admit_run(state: State, plan: str, interval: float = 1e-4) -> None:
    """Refuses a run of an approved plan that does not fit, with all others that are granted.

    The first run under a grant has all of its runs admitted; the others are held by it.

    Raises:
      BudgetExceededError: says what the plan would bring the home to, and the limit.
    """
    grant = state.grants[plan][-1]
    if grant.live:
        return
    event = grant.whole
    result = admission(state, event, interval)
    if result.fits:
        return
    if result.rule == "first plan":
        runs = "" if grant.num_runs == 1 else f" with its {grant.num_runs} runs"
        what = f"this plan{runs} costs epsilon {result.epsilon:.4f}"
    else:
        order = state.genesis["renyi_order"]
        what = (
            f"with the plans already reserved or answered here it would come to epsilon "
            f"{result.epsilon:.4f} (Rényi order {order:g})"
        )
    raise BudgetExceededError(
        f"the budget of site {state.genesis['site']} has no room: {what} at delta "
        f"{result.delta:g}, and the limit for the life of these records is {result.limit:g}. "
        "Nothing was spent. A plan with a smaller epsilon may fit; the limit itself never grows"
    )


def budget(state: State, interval: float = 1e-4) -> dict[str, Any]:
    """Returns the budget of a home as a JSON-able dict.

    `epsilon_spent` is the PLD of what was committed, a running total; `epsilon_reserved` is the
    PLD of that and of all that unfinished runs still hold; `epsilon_lifetime` is what counts when
    a further plan asks for room. The guarantee over the home's life is `epsilon_limit`. All are
    for one `unit` ("record", or "person" by the column `id`), which the home's plans share; None
    as long as there are none.
    """
    delta = state.genesis["delta_limit"]
    return {
        "site": state.genesis["site"],
        "unit": None if state.unit is None else state.unit[0],
        "id": None if state.unit is None else state.unit[1],
        "delta": delta,
        "epsilon_spent": epsilon_pld(state.committed, delta, interval),
        "epsilon_reserved": epsilon_pld(state.held, delta, interval),
        "epsilon_lifetime": epsilon_rdp(state.held, delta, [state.genesis["renyi_order"]]),
        "epsilon_limit": state.genesis["epsilon_limit"],
        "renyi_order": state.genesis["renyi_order"],
        "rehearsal": state.genesis["rehearsal"],
        "insecure_noise": state.genesis["insecure_noise"],
        "paused": state.paused,
        "studies": _studies(state, delta, interval),
    }


def _studies(state: State, delta: float, interval: float) -> list[dict[str, Any]]:
    """One row for each run, and one for the runs that a grant still allows or never came to."""
    rows = []
    for grant in (grant for grants in state.grants.values() for grant in grants):
        for run in grant.runs:
            standing = "revoked" if grant.revoked else "reserved"
            if run.finished:
                standing = "finished" if run.committed else "given back"
            rows.append(
                {
                    **_heading(grant),
                    "run": run.run,
                    "status": standing,
                    "runs": 1,
                    "epsilon_reserved": _pld(run.held, delta, interval),
                    "epsilon_spent": _pld(run.committed, delta, interval),
                }
            )
        if grant.left or not grant.runs:
            held = [repeat(grant.event, grant.left)] if grant.live and grant.left else []
            rows.append(
                {
                    **_heading(grant),
                    "run": None,
                    "status": "revoked" if grant.revoked else "approved",
                    "runs": grant.left,
                    "epsilon_reserved": _pld(held, delta, interval),
                    "epsilon_spent": 0.0,
                }
            )
    return rows


def _heading(grant: Grant) -> dict[str, Any]:
    return {name: grant.approval[name] for name in ("study", "plan", "name")}


def _pld(events: list[DpEvent], delta: float, interval: float) -> float:
    return epsilon_pld([compose(events)], delta, interval)
