"""How the rules of a ledger are told: what is used up, and what plans and units are called."""

from __future__ import annotations

from fedloom.common.errors import UsedUpError
from fedloom.privacy.ledger.grants import Grant

__all__ = ["short", "used_up", "words"]


def used_up(plan: str, grant: Grant) -> UsedUpError:
    """Says that every run that an approval granted is used, and what to do."""
    runs = "one run" if grant.num_runs == 1 else f"{grant.num_runs} runs"
    said = f"the approval of plan {short(plan)} was for {runs}, and nothing of it is left"
    unfinished = [run.run for run in grant.unfinished]
    if unfinished:
        return UsedUpError(
            f"{said}: run {unfinished[0]} is not finished. Let it go on, or let the steward end "
            "it (fedloom site revoke) and approve another (fedloom site approve)",
            runs=grant.num_runs,
        )
    return UsedUpError(
        f"{said}; a further run costs as much again, and the steward must approve it: fedloom "
        "site approve",
        runs=grant.num_runs,
    )


def words(unit: str, id_column: str | None) -> str:
    """Names a unit of privacy, with the column of ids of persons."""
    return f"a {unit}" if id_column is None else f"a {unit} (by {id_column!r})"


def short(plan: str) -> str:
    """Names a plan by the first digits of its digest."""
    return plan[:12]
