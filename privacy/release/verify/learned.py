"""Does a learned schema state what it cost? Computed again from the ledgers of the learning."""

from __future__ import annotations

from collections.abc import Mapping

from fedloom.common.errors import ReleaseError
from fedloom.privacy.plan import Plan
from fedloom.privacy.release.account import SiteAccount
from fedloom.privacy.release.verify.comparison import BELOW

__all__ = ["check_learned_prices", "notes_on_learning"]


def check_learned_prices(plan: Plan, accounts: Mapping[str, SiteAccount]) -> str:
    """Holds the schema's tables `[[learned]]` against what each site's ledger shows.

    Returns:
      What was found, for people.

    Raises:
      ReleaseError: a site granted or answered more of a learning plan than the schema says, or
        approved the plan without ever having answered it, which a rehearsal alone may.
    """
    if not plan.schema.learned:
        return "nothing in the schema says that it was learned"
    for origin in plan.schema.learned:
        for name, account in sorted(accounts.items()):
            found = next(one for one in account.learned if one.plan == origin.plan)
            if found.epsilon * (1 - BELOW) > origin.epsilon:
                raise ReleaseError(
                    f"the schema says that plan {origin.plan[:12]} cost epsilon "
                    f"{origin.epsilon:.6g}; the ledger of {name} shows {found.runs} run(s) of it, "
                    f"which cost {found.epsilon:.6g}"
                )
            if not found.runs and not account.rehearsal:
                raise ReleaseError(
                    f"the ledger of {name} shows no answer to plan {origin.plan[:12]}, which "
                    "learned the schema, so the price that the schema says cannot be checked"
                )
    return (
        f"{len(plan.schema.learned)} price(s) of learning, as the ledgers show or more"
        if any(one.runs for account in accounts.values() for one in account.learned)
        else "no ledger here answered the learning; see the notes"
    )


def notes_on_learning(plan: Plan, accounts: Mapping[str, SiteAccount]) -> list[str]:
    """Returns what a reader must know of the learning, although nothing is wrong."""
    without = sorted(
        name for name, account in accounts.items() if any(not one.runs for one in account.learned)
    )
    if not without:
        return []
    return [
        "a rehearsal's ledger that never answered the study which learned the schema: its price "
        f"is the schema's word alone ({', '.join(without)})"
    ]
