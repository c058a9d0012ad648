"""Which attempts at which rounds counted, and which were void: read from the sites' ledgers.

In per-site trust a round is asked once and every answer counts by itself. A secure sum opens only
with the answers of its whole roster; an attempt that lacked one is void, charged where it was
answered, and the round is asked again. The coordinator goes on as soon as a sum opens, so of a
round's attempts the last is the one that opened. Its request, whose digest covers the roster, is
the same at every site that answered it. The roster itself is in the ledgers too, so a release that
leaves out the ledger of a site that was in a sum is found out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from fedloom.common.errors import LedgerError
from fedloom.privacy.plan import Plan
from fedloom.privacy.release.account import AnsweredAttempt, SiteAccount

__all__ = ["Attempt", "attempts_of", "check_rosters"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt at a round.

    Attributes:
      round: of the plan.
      attempt: from 1.
      sites: that answered it and were charged, sorted.
      roster: sites that were asked, sorted, as the first of the sites names them.
      requests: how many different requests, or rosters, they answered under this number.
      void: whether a later attempt took its place.
    """

    round: int
    attempt: int
    sites: tuple[str, ...]
    roster: tuple[str, ...]
    requests: int
    void: bool


def attempts_of(accounts: Mapping[str, SiteAccount]) -> list[Attempt]:
    """Returns every attempt that some site answered, in order."""
    found: defaultdict[tuple[int, int], dict[str, AnsweredAttempt]] = defaultdict(dict)
    for name, account in accounts.items():
        for answer in account.answered:
            found[answer.round, answer.attempt][name] = answer
    last: dict[int, int] = {}
    for number, attempt in found:
        last[number] = max(attempt, last.get(number, 0))
    return [
        Attempt(
            round=number,
            attempt=attempt,
            sites=tuple(sorted(answers)),
            roster=answers[min(answers)].roster,
            requests=len({(one.request_digest, one.roster) for one in answers.values()}),
            void=attempt < last[number],
        )
        for (number, attempt), answers in sorted(found.items())
    ]


def check_rosters(plan: Plan, accounts: Mapping[str, SiteAccount]) -> str:
    """Checks that every sum of a plan was that of a roster which its noise is made for.

    In per-site trust every site that was asked must show its ledger, also if it answered nothing:
    one that is left out could hide answers that are in the data, noise from a known seed or runs
    before this one.

    Returns:
      What was found, for people.

    Raises:
      LedgerError: sites answered different requests, or fewer than the plan's least number; in
        per-site trust, a site that was asked has no ledger here; with a secure sum, a site lacks an
        exchange key of its own, or a round was not answered by its whole roster or not at all.
    """
    if plan.colluding is None:
        return _check_per_site(plan, accounts)
    keys = {site.exchange_key for site in plan.sites}
    if None in keys or len(keys) != len(plan.sites):
        raise LedgerError("the plan lacks a site's exchange key, or two sites have the same")
    attempts = attempts_of(accounts)
    opened = {attempt.round: attempt for attempt in attempts if not attempt.void}
    least = max(plan.min_sites, plan.colluding + 2)
    for asked in plan.rounds:
        attempt = opened.get(asked.round)
        if attempt is None:
            raise LedgerError(f"no ledger shows an answer to round {asked.round}")
        if attempt.requests != 1:
            raise LedgerError(
                f"the sites answered different requests under round {asked.round}, attempt "
                f"{attempt.attempt}; their sum cannot have opened"
            )
        if len(attempt.sites) < least:
            raise LedgerError(
                f"round {asked.round} was answered by {len(attempt.sites)} sites, the plan needs "
                f"{least}"
            )
        if attempt.sites != attempt.roster:
            absent = sorted(set(attempt.roster) - set(attempt.sites))
            raise LedgerError(
                f"the sum of round {asked.round} opens with the answers of its whole roster, "
                f"{', '.join(attempt.roster)}, and no ledger here shows that of "
                f"{', '.join(absent) or 'none else'}; ask for the release with every ledger"
            )
    void = sum(attempt.void for attempt in attempts)
    return (
        f"each of {len(plan.rounds)} rounds has one request that its whole roster answered, at "
        f"least {least} sites; void attempts that were charged: {void}"
    )


def _check_per_site(plan: Plan, accounts: Mapping[str, SiteAccount]) -> str:
    """Checks, in per-site trust, that whoever was asked is here and was asked the same."""
    attempts = attempts_of(accounts)
    asked = {site for attempt in attempts for site in attempt.roster}
    absent = sorted(asked - set(accounts))
    if absent:
        raise LedgerError(
            f"{', '.join(absent)} was asked, as the other ledgers say, and no ledger here shows "
            "what it answered; ask for the release with every ledger"
        )
    for attempt in attempts:
        if attempt.requests != 1:
            raise LedgerError(
                f"the sites answered different requests under round {attempt.round}; a round is "
                "one request to all that are asked"
            )
    return (
        f"each site's answers are private by themselves; all {len(asked)} sites that were asked "
        "show their ledgers"
    )
