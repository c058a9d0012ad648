"""Are the opened sums of a release those that its ledgers show, with the noise of its plan?

Shown by what is here: that every `statistic` and `evaluate` round of the plan is there, as it was
asked (the request's digest, computed again, is in every ledger), of whom, with which noise, and
which answer each site committed to. The request of a secure sum names the head of every site's
ledger, so that each ledger here must go on from what all sites were shown. In per-site trust each
site's own sum is there, and its digest is the one in that site's ledger. With a secure sum the
ledgers hold digests of masked parts, so that these add up to the opened sum takes the evidence: see
`verify/evidence.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

from fedloom.common.digest import canonical_json
from fedloom.common.errors import ReleaseError
from fedloom.common.messages import arrays_digest
from fedloom.privacy.answers.opened import OpenedRound, answer_path, noisy_sums
from fedloom.privacy.keys import verify
from fedloom.privacy.plan import Plan, RoundQuery
from fedloom.privacy.release.account import SiteAccount
from fedloom.privacy.secure_sum import open_sum

__all__ = ["check_answers"]


def check_answers(
    folder: Path,
    plan: Plan,
    run: str,
    accounts: Mapping[str, SiteAccount],
    listed: Collection[str],
) -> tuple[dict[int, OpenedRound], str]:
    """Reads the opened sums of a release and holds them against plan and ledgers.

    Args:
      folder: the release.
      plan: its plan.
      run: name of the run.
      accounts: what the sites' ledgers show.
      listed: paths of all files in the manifest.

    Returns:
      The opened rounds by number, and what was found, for people.

    Raises:
      ReleaseError: a round is missing, one too many, or is not what plan and ledgers say.
      ConfigError: a request does not fit the plan's schema.
    """
    planned = [asked for asked in plan.rounds if asked.published]
    expected = {answer_path(asked.round) for asked in planned}
    found = {path for path in listed if path.startswith("answers/round-")}
    if found != expected:
        wrong = sorted(found ^ expected)[0]
        what = "is missing" if wrong in expected else "is the answer to no round of the plan"
        raise ReleaseError(f"{wrong} {what}")
    opened = {}
    for asked in planned:
        opened[asked.round] = OpenedRound.load(folder / answer_path(asked.round))
        _check_round(plan, run, asked, opened[asked.round], accounts)
    numbers = ", ".join(str(number) for number in opened)
    shown = (
        "each site's own sum is the one that its ledger committed to"
        if plan.colluding is None
        else "that the sites' parts add up to them takes the evidence"
    )
    return opened, (
        f"rounds {numbers}: request, roster, noise and digests are those of plan and ledgers; "
        f"{shown}{_unused(opened, accounts)}"
    )


def _unused(opened: Mapping[int, OpenedRound], accounts: Mapping[str, SiteAccount]) -> str:
    """Names answers that were charged and are in no sum: they came late, or could not be used."""
    lines = [
        f"{site} (round {line.round})"
        for site, account in sorted(accounts.items())
        for line in account.answered
        if line.round in opened
        and line.attempt == opened[line.round].attempt
        and site not in opened[line.round].sites
    ]
    return f"; charged, and in no sum: {', '.join(lines)}" if lines else ""


def _check_round(
    plan: Plan,
    run: str,
    asked: RoundQuery,
    opened: OpenedRound,
    accounts: Mapping[str, SiteAccount],
) -> None:
    where = f"the answer to round {asked.round}"
    same = (opened.plan, opened.run, opened.round, opened.query) == (
        plan.digest(),
        run,
        asked.round,
        asked.query,
    )
    if not same or canonical_json(opened.params) != canonical_json(asked.params):
        raise ReleaseError(f"{where} is to another question than the plan's")
    _check_sites(plan, opened, where)
    asked.phase.check_arrays(plan, opened.request_arrays)
    length = asked.phase.answer_length(plan, opened.request_arrays)
    if opened.total.shape != (length,):
        raise ReleaseError(f"{where} has {opened.total.size} numbers, the question asks {length}")
    if opened.sums != noisy_sums(plan, asked, length, len(opened.sites)):
        raise ReleaseError(f"{where} states another noise or grid than that of its sites")
    if opened.request(plan.study_digest).digest() != opened.request_digest:
        raise ReleaseError(f"{where} names a request that is not the one it shows")
    for site in opened.sites:
        _check_ledger(opened, accounts, site, where)
    _check_heads(plan, opened, accounts, where)
    _check_own(plan, opened, where)


def _check_sites(plan: Plan, opened: OpenedRound, where: str) -> None:
    roster, sites = set(opened.roster), set(opened.sites)
    if list(opened.roster) != sorted(roster) or not sites <= roster:
        raise ReleaseError(f"{where} names a roster that no request has")
    if not roster <= plan.site_names:
        raise ReleaseError(f"{where} names a site that the plan does not have")
    if len(sites) < plan.min_sites:
        raise ReleaseError(f"{where} is a sum of fewer sites than the plan's least number")
    if plan.colluding is not None and sites != roster:
        raise ReleaseError(f"{where} lacks a site of its roster, so it cannot have opened")


def _check_ledger(
    opened: OpenedRound, accounts: Mapping[str, SiteAccount], site: str, where: str
) -> None:
    if site not in accounts:
        raise ReleaseError(f"{where} counts {site}, of which no ledger is here")
    answered = [
        line
        for line in accounts[site].answered
        if (line.round, line.attempt) == (opened.round, opened.attempt)
    ]
    if not answered:
        raise ReleaseError(f"{where} counts {site}, whose ledger shows no such answer")
    line = answered[0]
    if (line.request_digest, line.roster) != (opened.request_digest, opened.roster):
        raise ReleaseError(f"{where} shows another request than the ledger of {site}")
    if line.answer_digest != opened.answer_digests[site]:
        raise ReleaseError(f"{where} names another answer of {site} than its ledger committed to")


def _check_heads(
    plan: Plan, opened: OpenedRound, accounts: Mapping[str, SiteAccount], where: str
) -> None:
    """Holds the heads that a secure sum's request named against the ledgers."""
    if set(opened.heads) != (set() if plan.colluding is None else set(opened.roster)):
        raise ReleaseError(f"{where} does not name the head of the ledger of every site it asked")
    for site, head in opened.heads.items():
        key = plan.site(site).key or ""
        if not verify(key, head.signed_bytes(opened.plan, opened.run), head.signature):
            raise ReleaseError(f"{where} names a head that {site} did not sign")
        hashes = accounts[site].hashes
        if head.seq >= len(hashes) or hashes[head.seq] != head.hash:
            raise ReleaseError(
                f"{where} names a head that the ledger of {site} does not go on from: the ledger "
                "was cut, or is another copy than the one that answered"
            )


def _check_own(plan: Plan, opened: OpenedRound, where: str) -> None:
    own = set(opened.own)
    if own != (set() if plan.colluding is not None else set(opened.sites)):
        raise ReleaseError(f"{where} does not hold the own sums of its sites, or holds others")
    for site, part in opened.own.items():
        if arrays_digest({"sum": part}) != opened.answer_digests[site]:
            raise ReleaseError(f"{where} holds another sum of {site} than its ledger committed to")
    if own and not np.array_equal(open_sum(opened.own, roster=opened.sites), opened.total):
        raise ReleaseError(f"{where} is not the sum of what its sites answered")
