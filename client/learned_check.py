"""Holds what a schema says of its price against the ledger of the home that should have paid it.

A schema that was learned names, in its tables `[[learned]]`, the plans that learned it and what
they cost, and a release adds those prices to its own. The coordinator sends the schema and could
write any plan and any price; the home knows better, as its ledger holds what it approved and
answered. A table that was left out cannot be missed here: a schema may also be public.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from fedloom.common.errors import StudyError
from fedloom.common.schema_origin import SchemaOrigin
from fedloom.privacy.learning_cost import cost_of_learning
from fedloom.privacy.ledger import Ledger
from fedloom.privacy.plan import Plan

__all__ = ["check_learned"]

_LAST_DIGITS = 1e-6
"""Relative; accountants on two machines differ no more."""


def check_learned(ledger: Ledger, plan: Plan) -> None:
    """Checks that this home answered each study that learned the plan's schema, at its price.

    A rehearsal's home that does not know a study is warned of it alone: it was made for one run,
    has no past to compare with, and its releases say that they cover that run and nothing else.

    Raises:
      StudyError: the home never answered such a study, or all that it granted or answered of it
        costs more than the schema says.
    """
    named = {origin.plan for origin in plan.schema.learned}
    for origin in plan.schema.learned:
        grants = ledger.grants(origin.plan)
        runs, cost = cost_of_learning(grants, origin.delta)
        if runs:
            _check_price(origin, grants[-1].approval, runs, cost)
            _check_origins(origin, set(grants[-1].approval["learned"]) - named)
            continue
        said = (
            f"the schema says that {', '.join(origin.columns)} were learned by plan "
            f"{origin.plan[:12]} at epsilon {origin.epsilon:g}, and this home never answered that "
            "plan"
        )
        if not ledger.rehearsal:
            raise StudyError(
                f"{said}, so it cannot tell whether that price is right; use the schema in the "
                "homes that learned it, or have the coordinator learn one with this site"
            )
        warnings.warn(
            f"{said}: the home of {ledger.site!r} is a rehearsal's, so the run goes on, but its "
            "ledger leaves that price out; give the homes that learned the schema with --home",
            stacklevel=3,
        )


def _check_price(origin: SchemaOrigin, approval: Mapping[str, Any], runs: int, cost: float) -> None:
    """Holds a table against all runs of its plan that this home answered, or may still answer."""
    for name, said, held in (
        ("study", origin.study, approval["study"]),
        ("delta", origin.delta, approval["summary"].get("delta")),
    ):
        if said != held:
            raise StudyError(
                f"the schema's [[learned]] table of plan {origin.plan[:12]} says {name} {said}, "
                f"this home's ledger says {held}; have the coordinator send the plan with the "
                "schema.toml that the learning study wrote"
            )
    if origin.runs < runs or origin.epsilon < cost * (1 - _LAST_DIGITS):
        raise StudyError(
            f"the schema's [[learned]] table of plan {origin.plan[:12]} says runs = {origin.runs} "
            f"and epsilon = {origin.epsilon:g}, and this home granted {runs} run(s) of it, which "
            f"cost epsilon {cost!r} together; have the coordinator write runs = {runs} and "
            f"epsilon = {cost!r} there and send the plan anew"
        )


def _check_origins(origin: SchemaOrigin, left_out: set[str]) -> None:
    """A schema that was learned on a learned schema costs what both cost."""
    if left_out:
        raise StudyError(
            f"plan {origin.plan[:12]} learned on a schema that plan {min(left_out)[:12]} had "
            "learned, and the schema leaves out its [[learned]] table; have the coordinator keep it"
        )
