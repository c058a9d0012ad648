"""What fits into a home's lifetime budget, and what is left of it.

The first plan of a home is admitted by its PLD price. Any further plan may have been chosen after
seeing answers to earlier ones, where adding up PLD is not valid, so all plans together must then
fit at one Rényi order that was fixed when the home was made. Why the two rules together are
rigorous: `docs/decisions/0002-lifetime-filter.md`. What is admitted and held is a grant, all its
runs together, whose number and noise are fixed beforehand; a stricter policy is a filter of its
own beside the ledger's: `docs/decisions/0018-one-approval-one-run.md`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fedloom.common.errors import BudgetExceededError
from fedloom.privacy.accounting import epsilon_pld, epsilon_rdp, lifetime_renyi_order, price
from fedloom.privacy.events import DpEvent, compose, repeat
from fedloom.privacy.ledger.grants import Grant
from fedloom.privacy.ledger.limits import Limits
from fedloom.privacy.ledger.state import State

__all__ = ["Admission", "admission", "admit_run", "budget", "limits_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Whether a plan fits, by which rule, and what everything would then come to."""

    rule: str
    """`first plan` (PLD of that plan alone) or `lifetime` (RDP of all plans at one order)."""
    epsilon: float
    limits: Limits

    @property
    def fits(self) -> bool:
        """Whether there is room."""
        return self.epsilon <= self.limits.epsilon


def admission(
    state: State, event: DpEvent, policy: Limits | None = None, interval: float = 1e-4
) -> Admission:
    """Says whether a grant of this event would fit into what is left of the home's budget.

    A finished run counts for what it committed, an unfinished one and one that is still granted
    for the plan's whole event. A run that ended without any answer told nobody anything, and does
    not count.

    Args:
      state: what the home holds.
      event: of all runs of the grant.
      policy: the steward's own limits, which bind where they are smaller than the ledger's.
      interval: grid of the PLD accountant.
    """
    own = limits_of(state)
    found = [
        _standing(state, [event], limits, interval)
        for limits in dict.fromkeys([own, own.within(policy)])
    ]
    return next((one for one in found if not one.fits), found[-1])


def admit_run(
    state: State, plan: str, policy: Limits | None = None, interval: float = 1e-4
) -> None:
    """Refuses a run of an approved plan that does not fit, with all others that are granted.

    The first run under a grant has all of its runs admitted; the others are held by it. What is
    held must still fit if the policy has become smaller meanwhile.

    Raises:
      BudgetExceededError: says what the plan would bring the home to, and the limit.
    """
    grant, own = state.grants[plan][-1], limits_of(state)
    if not grant.live:
        result = admission(state, grant.whole, policy, interval)
    elif own.within(policy) == own:
        return
    else:
        result = _standing(state, [], own.within(policy), interval)
    if result.fits:
        return
    limits = result.limits
    if result.rule == "first plan":
        runs = "" if grant.num_runs == 1 else f" with its {grant.num_runs} runs"
        what = f"this plan{runs} costs epsilon {result.epsilon:.4f}"
    else:
        what = (
            f"with the plans already reserved or answered here it would come to epsilon "
            f"{result.epsilon:.4f} (Rényi order {_order(state, limits):g})"
        )
    raise BudgetExceededError(
        f"the budget of site {state.genesis['site']} has no room: {what} at delta "
        f"{limits.delta:g}, and the limit for the life of these records is {limits.in_words}. "
        "Nothing was spent by it. A plan with a smaller epsilon may fit; the ledger's limit never "
        "grows"
    )


def limits_of(state: State) -> Limits:
    """Returns the limits that the ledger has held since its first entry."""
    return Limits(
        epsilon=float(state.genesis["epsilon_limit"]),
        delta=float(state.genesis["delta_limit"]),
        epsilon_set_by="ledger",
        delta_set_by="ledger",
    )


def _order(state: State, limits: Limits) -> float:
    """The Rényi order of all plans: a function of the limits alone, never of an answer."""
    if limits == limits_of(state):
        return float(state.genesis["renyi_order"])
    return lifetime_renyi_order(limits.epsilon, limits.delta)


def _standing(state: State, new: list[DpEvent], limits: Limits, interval: float) -> Admission:
    """Prices what the home holds together with what is `new`, by the rule that applies."""
    whole = [*(grant.whole for grant in state.live_grants), *new]
    if len(whole) == 1:
        return Admission(
            rule="first plan", epsilon=price(whole, limits.delta, interval).epsilon, limits=limits
        )
    orders = [_order(state, limits)]
    together = epsilon_rdp([*state.held, *new], limits.delta, orders)
    alone = max(epsilon_rdp([event], limits.delta, orders) for event in whole)
    return Admission(rule="lifetime", epsilon=max(together, alone), limits=limits)


def budget(state: State, policy: Limits | None = None, interval: float = 1e-4) -> dict[str, Any]:
    """Returns the budget of a home as a JSON-able dict.

    `epsilon_spent` is the PLD of what was committed, a running total; `epsilon_reserved` is the
    PLD of that and of all that unfinished runs still hold; `epsilon_lifetime` is what counts when
    a further plan asks for room. The guarantee over the home's life is `epsilon_limit` at `delta`:
    the smaller of the ledger's and the policy's, as `limits_set_by` says of each. All are for one
    `unit` ("record", or "person" by the column `id`), which the home's plans share; None
    as long as there are none.
    """
    limits = limits_of(state).within(policy)
    delta, order = limits.delta, _order(state, limits)
    return {
        "site": state.genesis["site"],
        "unit": None if state.unit is None else state.unit[0],
        "id": None if state.unit is None else state.unit[1],
        "delta": delta,
        "epsilon_spent": epsilon_pld(state.committed, delta, interval),
        "epsilon_reserved": epsilon_pld(state.held, delta, interval),
        "epsilon_lifetime": epsilon_rdp(state.held, delta, [order]),
        "epsilon_limit": limits.epsilon,
        "limits_set_by": {"epsilon": limits.epsilon_set_by, "delta": limits.delta_set_by},
        "renyi_order": order,
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
            if run.lost or grant.lost:
                standing = "counted in full"
            rows.append(
                {
                    **_heading(grant),
                    "run": run.run,
                    "status": standing,
                    "runs": 1,
                    "epsilon_reserved": 0.0 if grant.lost else _pld(run.held, delta, interval),
                    "epsilon_spent": _pld(run.committed, delta, interval),
                }
            )
        if grant.lost:
            rows.append(
                {
                    **_heading(grant),
                    "run": None,
                    "status": "counted in full",
                    "runs": grant.num_runs,
                    "epsilon_reserved": _pld([grant.whole], delta, interval),
                    "epsilon_spent": 0.0,
                }
            )
        elif grant.left or not grant.runs:
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
