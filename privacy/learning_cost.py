"""What a study of kind "schema" cost at a site: all runs that its ledger shows.

Whoever runs a learning plan several times may keep the schema it likes best, so the schema's price
is that of all of them, those that an approval still allows included.

Guarantee: as many Gaussian sums as the plan has rounds, times the runs, composed by their privacy
loss distribution. Neighbouring relation: add or remove one unit of the learning plan.
"""

from __future__ import annotations

from collections.abc import Sequence

from fedloom.privacy.accounting import price
from fedloom.privacy.events import repeat
from fedloom.privacy.ledger import Grant

__all__ = ["cost_of_learning"]


def cost_of_learning(grants: Sequence[Grant], delta: float) -> tuple[int, float]:
    """Returns how many runs of a learning plan count at a site, and what they cost together.

    A plan that never answered anything told nothing, whatever was approved of it: 0 and 0.0.

    Args:
      grants: all that was ever approved of the plan there, with its runs.
      delta: at which it is priced.
    """
    if not any(run.committed for grant in grants for run in grant.runs):
        return 0, 0.0
    runs = sum(grant.num_priced for grant in grants)
    return runs, price([repeat(grants[-1].event, runs)], delta).epsilon
