"""Warns of a price that is legal and protects little, from what the plan says alone.

Nothing here is an error: a study may have reasons. Whoever decides is told in plain words what the
numbers mean and what to change. No records are looked at: sizes are those that sites declare.
"""

from __future__ import annotations

from fedloom.common.vocabulary import Unit
from fedloom.privacy.plan import Plan

__all__ = ["MAX_DELTA", "MAX_EPSILON", "price_warnings"]

MAX_DELTA = 1 / 1000
MAX_EPSILON = 10.0


def price_warnings(plan: Plan, runs: int = 1) -> list[str]:
    """Says where epsilon or delta is too large to mean much.

    Args:
      plan: whose budget is looked at.
      runs: for how many runs of it somebody decides, at least 1; their epsilon is that of all
        together.

    Returns:
      One text for each of: a delta above 1/1000, a delta above one over the smallest number of
      records that a site declares, an epsilon above 10. A value at its limit is not warned of.
    """
    unit, delta = plan.privacy.unit, plan.delta
    lines = []
    if delta > MAX_DELTA:
        lines.append(
            f"delta {delta:g} is above 1/1000. Delta bounds the chance that the guarantee fails, "
            f"and when it fails, the data of one {unit} may be seen as they are. Set delta in "
            "[privacy] of the study to 0.001 or less, and far below one over the number of "
            f"{unit}s."
        )
    sizes = [(site.records, site.name) for site in plan.sites if site.records is not None]
    if sizes:
        records, name = min(sizes)
        if delta > 1 / records:
            persons = (
                "; one person may have many records, so choose it smaller still"
                if unit is Unit.PERSON
                else ""
            )
            lines.append(
                f"delta {delta:g} is above one over the {records:,} records that site {name!r} "
                f"declares. Even publishing each {unit}'s data as they are with a chance of "
                f"{delta:g} would then count as private: more than one record on average. Set "
                f"delta in [privacy] of the study far below 1/{records:,}{persons}."
            )
    # The study's own limit for one run: its price is that, but for rounding.
    epsilon = plan.privacy.epsilon
    together, fewer = "", ""
    if runs > 1:
        epsilon = max(epsilon, plan.price(runs).epsilon)
        together, fewer = f" for {runs} runs together", ", or approve fewer runs"
    if epsilon > MAX_EPSILON:
        lines.append(
            f"epsilon {epsilon:.6g}{together} is above 10. The answers may change a reader's odds "
            f"about one {unit} by a factor of more than 22,000: that is little protection. Set "
            f"epsilon in [privacy] of the study to 10 or less, better to 1{fewer}."
        )
    return lines
