"""Holds what a schema says of its price against the ledger of the home that should have paid it.

A schema that was learned names, in its tables `[[learned]]`, the plans that learned it and what
they cost, and a release adds those prices to its own. The coordinator sends the schema and could
write any plan and any price; the home knows better, as its ledger holds what it approved and
answered. A table that was left out cannot be missed here: a schema may also be public.
"""

from __future__ import annotations

import warnings

from fedloom.common.errors import StudyError
from fedloom.common.learned import Learned
from fedloom.privacy.ledger import Ledger
from fedloom.privacy.plan import Plan

__all__ = ["check_learned"]


def check_learned(ledger: Ledger, plan: Plan) -> None:
    """Checks that this home answered each study that learned the plan's schema, at its price.

    A rehearsal's home that does not know a study is warned of it alone: it was made for one run,
    has no past to compare with, and its releases say that they cover that run and nothing else.

    Raises:
      StudyError: the home never answered such a study, or approved it at another price.
    """
    for origin in plan.schema.learned:
        known = ledger.answered(origin.plan)
        if known is not None:
            _check_price(origin, known["study"], known["summary"])
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


def _check_price(origin: Learned, study: object, summary: dict[str, object]) -> None:
    said = {"study": origin.study, "epsilon": origin.epsilon, "delta": origin.delta}
    for name, value in said.items():
        held = study if name == "study" else summary.get(name)
        if value != held:
            raise StudyError(
                f"the schema's [[learned]] table of plan {origin.plan[:12]} says {name} {value}, "
                f"this home's ledger says {held}; have the coordinator send the plan with the "
                "schema.toml that the learning study wrote"
            )
