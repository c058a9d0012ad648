"""What a learned schema adds to a release's price.

A schema that an earlier study learned is published with every release that uses it, so whoever
reads the release reads both studies' output. Its tables `[[learned]]`
(`fedloom.common.schema_origin`) name the earlier prices. The sum of all epsilons at the sum of all
deltas bounds the whole, also as the later study depends on the earlier one's answer (Dwork and Roth
2014, theorem 3.16 and its remark on adaptive composition). That bound needs no plan but this one,
and is not tight: the sites' ledgers compose the same studies with less. Each price is that of all
runs of its plan, and the extracts of the ledgers show them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from fedloom.common.schema_origin import SchemaOrigin
from fedloom.privacy.plan import Plan

__all__ = ["composed", "preprocessing", "with_the_schema"]


def composed(learned: Sequence[SchemaOrigin], epsilon: float, delta: float) -> tuple[float, float]:
    """Returns the sums of a study's price and of those at which its schema was learned."""
    return (
        math.fsum([epsilon, *(origin.epsilon for origin in learned)]),
        math.fsum([delta, *(origin.delta for origin in learned)]),
    )


def with_the_schema(plan: Plan, runs: int = 1) -> dict[str, Any]:
    """Returns the price of so many runs of a plan and of its schema, as the statement holds it."""
    learned = plan.schema.learned
    epsilon, delta = composed(learned, plan.price(runs).epsilon, plan.delta)
    text = "nothing in the schema was learned from records: this is the plan's own price"
    if learned:
        text = (
            "this plan and the earlier studies that learned its schema, together: the sum of their "
            "epsilons at the sum of their deltas. That bound always holds and is not tight; each "
            "site's ledger composes them"
        )
    return {"epsilon": epsilon, "delta": delta, "text": text}


def preprocessing(plan: Plan) -> dict[str, Any]:
    """Returns where bounds and categories come from, as the statement holds it."""
    learned = plan.schema.learned
    text = "fixed in the schema before this plan, from public knowledge; nothing fitted on data"
    if learned:
        names = ", ".join(sorted({name for origin in learned for name in origin.columns}))
        text = (
            f"of {names}: learned from records by the earlier studies under `learned`, at the "
            "epsilon and delta given there, which this plan's own leave out and `with_the_schema` "
            "adds; all others: fixed in the schema from public knowledge. Nothing was fitted on "
            "data in this plan"
        )
    return {
        "bounds_and_categories": "learned" if learned else "public",
        "schema_digest": plan.schema_digest,
        "numbers_outside": "clamped",
        "values_unknown": "other",
        "learned": [origin.to_dict() for origin in learned],
        "epsilon": math.fsum(origin.epsilon for origin in learned),
        "delta": math.fsum(origin.delta for origin in learned),
        "text": f"{text}. Numbers outside are clamped to the bounds, other values become `other`",
    }
