"""The one claim of a release: its numbers, and the sentence that says them."""

from __future__ import annotations

from typing import Any

from fedloom.privacy.plan import Plan
from fedloom.privacy.release.schema_price import composed

__all__ = ["make_claim"]


def make_claim(plan: Plan, *, void: bool, runs: int = 1) -> dict[str, Any]:
    """States what is claimed.

    Args:
      plan: the plan that was carried out.
      void: whether a site's noise came from a known seed.
      runs: how many runs of the plan are priced together.

    Returns:
      The claim's numbers and codes. `place` is where the noise is whole: "each-site", or
      "coordinator" for a secure sum, towards which `colluding` sites may tell all they know.
      `with_the_schema` is the price of plan and schema together, None if nothing was learned.
      `text` says all of it in a sentence.
    """
    privacy, epsilon, delta = plan.privacy, plan.price(runs).epsilon, plan.delta
    place, schema, whole = "at each site", "", None
    if plan.colluding is not None:
        sites = plan.colluding
        place = "towards the coordinator" + (
            f" and any {sites} site{'s' if sites > 1 else ''}" if sites else ""
        )
    several = "" if runs == 1 else f", for {runs} runs of the plan together"
    if plan.schema.learned:
        both = composed(plan.schema.learned, epsilon, delta)
        whole = {"epsilon": both[0], "delta": both[1]}
        schema = (
            f", for this study alone; ({both[0]:.4g}, {both[1]:g}) with the schema, which was "
            "learned from records at a price of its own (the sum of both)"
        )
    return {
        "epsilon": epsilon,
        "delta": delta,
        "runs": runs,
        "unit": privacy.unit.value,
        "place": "each-site" if plan.colluding is None else "coordinator",
        "colluding": plan.colluding,
        "with_the_schema": whole,
        "void": void,
        "text": f"({epsilon:.4g}, {delta:g})-differential privacy for the unit "
        f"'{privacy.unit}' {place}{several}{schema}, under the assumptions listed"
        + ("; VOID: noise from a known seed" if void else ""),
    }
