"""Is the privacy statement what plan and ledgers say? Every number, flag and code of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedloom.common.errors import ReleaseError
from fedloom.privacy.plan import Plan
from fedloom.privacy.release.account import SiteAccount
from fedloom.privacy.release.statement import make_statement
from fedloom.privacy.release.verify.comparison import BELOW, compare

__all__ = ["check_statement"]


def check_statement(
    plan: Plan, accounts: Mapping[str, SiteAccount], statement: Mapping[str, Any]
) -> str:
    """Writes the statement again and compares all but its sentences.

    Args:
      plan: the plan that was carried out.
      accounts: what the sites' ledgers show.
      statement: what the release says.

    Returns:
      What was found, for people.

    Raises:
      ReleaseError: something differs, or no ledger can be read.
    """
    if not accounts:
        raise ReleaseError("no ledger can be read, so epsilon cannot be computed")
    compare(dict(statement), make_statement(plan, accounts), "dp_statement.json")
    spent = max(account.epsilon_of_all_runs(plan.delta) for account in accounts.values())
    if statement["epsilon"] < spent * (1 - BELOW):
        raise ReleaseError(
            f"the statement says epsilon {statement['epsilon']:.6g}, the ledgers' events cost "
            f"{spent:.6g}"
        )
    void = "; VOID: noise from a known seed" if statement["claim"]["void"] else ""
    return (
        f"epsilon {statement['epsilon']:.6g} at delta {plan.delta:g} for the unit "
        f"'{statement['claim']['unit']}'{void}; computed again from the ledgers' events: "
        f"{spent:.6g}, as stated or less; so is every other number, flag and code"
    )
