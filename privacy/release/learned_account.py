"""What the plans that learned a schema cost at one site, read from its ledger extract.

A release on a learned schema publishes what the learning plans answered, so their entries stand in
the extract too. Their price is that of all runs that the site answered, or may still answer: the
schema may have been chosen among them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fedloom.common.errors import LedgerError
from fedloom.common.schema_origin import SchemaOrigin
from fedloom.privacy.learning_cost import cost_of_learning
from fedloom.privacy.ledger import Grant

__all__ = ["LearnedAccount", "learned_accounts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedAccount:
    """One learning plan at one site.

    Attributes:
      plan: digest of the plan.
      runs: how many of its runs the site answered, or may still answer; 0 if it never did.
      epsilon: what they cost together, at the delta of the schema's table; 0 for no runs.
    """

    plan: str
    runs: int
    epsilon: float


def learned_accounts(
    origins: Sequence[SchemaOrigin], found: Mapping[str, Sequence[Grant]], site: str
) -> tuple[LearnedAccount, ...]:
    """Reads from an extract what each study that learned the schema cost at a site.

    Args:
      origins: the tables `[[learned]]` of the schema.
      found: all grants of every learning plan that the extract shows.
      site: name of the site, for messages.

    Raises:
      LedgerError: the ledger shows a learning plan that the schema leaves out, or another study.
    """
    left_out = sorted(set(found) - {origin.plan for origin in origins})
    if left_out:
        raise LedgerError(
            f"the ledger of {site} shows that plan {left_out[0][:12]} learned a part of the "
            "schema, and the schema does not say so"
        )
    accounts = []
    for origin in origins:
        grants = found.get(origin.plan, ())
        if grants and grants[-1].approval["study"] != origin.study:
            raise LedgerError(
                f"the schema says that plan {origin.plan[:12]} is of another study than the "
                f"ledger of {site} says"
            )
        runs, epsilon = cost_of_learning(grants, origin.delta)
        accounts.append(LearnedAccount(plan=origin.plan, runs=runs, epsilon=epsilon))
    return tuple(accounts)
