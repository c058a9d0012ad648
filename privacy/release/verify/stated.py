"""Is what a release states what was computed again: numbers, flags, codes, structure?

Sentences stand under the key `text` alone. They are covered by the publisher's signature and are
not compared, so that a later version may word them better and still verify an older release. The
statement is written again from plan and ledgers, and the price of a learned schema is computed
again from the ledgers of the learning.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from fedloom.common.errors import ReleaseError
from fedloom.privacy.plan import Plan
from fedloom.privacy.release.account import SiteAccount
from fedloom.privacy.release.statement import make_statement

__all__ = [
    "BELOW",
    "TEXT",
    "check_learned_prices",
    "check_price",
    "check_statement",
    "compare",
    "must_equal",
    "notes_on_learning",
]

BELOW = 1e-6
"""How far, relatively, a stated number may lie below the computed one; no further, ever."""
TEXT = "text"
"""The one key whose value is a sentence."""
_ABOVE = 1e-3
_SHOWN = 80


def compare(stated: Any, computed: Any, where: str) -> None:
    """Compares two plain values: numbers almost, sentences not at all, everything else exactly.

    Raises:
      ReleaseError: they differ; the message names the place.
    """
    if isinstance(computed, dict) and isinstance(stated, dict):
        if set(stated) != set(computed):
            raise ReleaseError(f"{where} has other keys than it should")
        for key in computed:
            if key != TEXT:
                compare(stated[key], computed[key], f"{where}.{key}")
            elif not isinstance(stated[key], str):
                raise ReleaseError(f"{where}.{key} is no sentence")
    elif isinstance(computed, list) and isinstance(stated, list) and len(stated) == len(computed):
        for number, (one, other) in enumerate(zip(stated, computed, strict=True)):
            compare(one, other, f"{where}[{number}]")
    elif isinstance(computed, float):
        must_equal(stated, computed, where)
    elif type(stated) is not type(computed) or stated != computed:
        raise ReleaseError(f"{where} is {repr(stated)[:_SHOWN]}, it should be {computed!r}")


def must_equal(stated: Any, computed: float, what: str) -> None:
    """Compares a stated number with the computed one.

    Raises:
      ReleaseError: it is no number, too low, or much too high.
    """
    if isinstance(stated, bool) or not isinstance(stated, int | float):
        raise ReleaseError(f"{what} is no number")
    low = computed - BELOW * max(abs(computed), 1e-9)
    high = computed + _ABOVE * max(abs(computed), 1e-9)
    if not math.isfinite(stated) or not low <= stated <= high:
        raise ReleaseError(f"{what} is {stated:.6g}, computed again it is {computed:.6g}")


def check_price(plan: Plan) -> str:
    """Computes the price that a plan states again, and returns what was found, for people.

    Raises:
      ReleaseError: it states another price, or one at another delta than its own.
    """
    computed, stated = plan.price(), plan.stated_price
    must_equal(stated.epsilon, computed.epsilon, "the plan's epsilon")
    must_equal(stated.epsilon_rdp, computed.epsilon_rdp, "the plan's epsilon by RDP")
    if stated.delta != plan.delta:
        raise ReleaseError("the plan is priced at another delta than its own")
    return f"the plan costs epsilon {computed.epsilon:.6g} at delta {plan.delta:g}"


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
