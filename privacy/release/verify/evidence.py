"""Do the sites' own signed parts open to the sums of a release, and are they in the ledgers?

Shown by evidence: that each part is signed by its site's key in the plan, that it is the answer
that the site's ledger committed to, to the request that all ledgers of the round hold, and that
the parts of a roster add up to the opened sum, number by number. Then nobody but the sites
themselves is trusted for the opened sums.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fedloom.common.errors import ConfigError, ReleaseError
from fedloom.common.strict_json import read_json
from fedloom.common.vocabulary import Query
from fedloom.privacy.answers.files import EVIDENCE, EVIDENCE_FORMAT, part_path, read_part
from fedloom.privacy.answers.opened import OpenedRound
from fedloom.privacy.plan import Plan, RoundQuery
from fedloom.privacy.release.account import AnsweredAttempt, SiteAccount
from fedloom.privacy.secure_sum import open_sum

__all__ = ["check_evidence"]


def check_evidence(
    evidence: Path,
    plan: Plan,
    run: str,
    accounts: Mapping[str, SiteAccount],
    opened: Mapping[int, OpenedRound],
) -> str:
    """Checks the parts of every round; one round is in memory at a time.

    Args:
      evidence: folder of the evidence.
      plan: the release's plan.
      run: name of the run.
      accounts: what the sites' ledgers show, checked.
      opened: the release's opened rounds, checked.

    Returns:
      What was found, for people.

    Raises:
      ReleaseError: a part is missing, one too many, not its site's, not the one in its ledger, or
        the parts do not open to the sum in the release.
    """
    if read_json(evidence / EVIDENCE) != {
        "format": EVIDENCE_FORMAT,
        "plan": plan.digest(),
        "run": run,
    }:
        raise ReleaseError(
            f"{EVIDENCE} is that of another run or plan, or not of the format {EVIDENCE_FORMAT}"
        )
    found = _files(evidence)
    parts = late = 0
    for asked in plan.rounds:
        lines = _last_attempt(accounts, asked.round)
        sites = _sites(evidence, found, plan, asked, lines, opened.get(asked.round))
        found -= {part_path(Path(), asked.round, site).as_posix() for site in sites}
        _check_parts(evidence, plan, asked, {site: lines[site] for site in sites}, opened)
        parts += len(sites)
        late += len(lines) - len(sites)
    found.discard(EVIDENCE)
    if found:
        raise ReleaseError(f"{sorted(found)[0]} is no part of a round; take it away")
    unused = f"; answers in ledgers that came too late or could not be used: {late}" if late else ""
    return (
        f"{parts} parts of {len(plan.rounds)} rounds: each signed by its site and in its ledger, "
        f"rosters complete; they open to the sums of the release{unused}"
    )


def _files(evidence: Path) -> set[str]:
    if not evidence.is_dir():
        raise ReleaseError(f"{evidence} is no folder of evidence")
    paths = list(evidence.rglob("*"))
    links = [path for path in paths if path.is_symlink()]
    if links:
        raise ReleaseError(f"{links[0].relative_to(evidence)} is a link; evidence is plain files")
    return {path.relative_to(evidence).as_posix() for path in paths if path.is_file()}


def _last_attempt(accounts: Mapping[str, SiteAccount], number: int) -> dict[str, AnsweredAttempt]:
    """Returns, by site, the answer to a round's last attempt, the one whose sum opened."""
    lines = [
        (site, line)
        for site, account in accounts.items()
        for line in account.answered
        if line.round == number
    ]
    last = max((line.attempt for _, line in lines), default=0)
    return {site: line for site, line in lines if line.attempt == last}


def _sites(
    evidence: Path,
    found: set[str],
    plan: Plan,
    asked: RoundQuery,
    lines: Mapping[str, AnsweredAttempt],
    opened: OpenedRound | None,
) -> list[str]:
    """Returns the sites whose parts make a round's sum, all of them there."""
    there = {site for site in lines if part_path(Path(), asked.round, site).as_posix() in found}
    if opened is not None:
        needed = set(opened.sites)
    else:  # a roster opens as a whole; in per-site trust whoever answered in time counts
        needed = set(lines) if plan.colluding is not None else there
    if there != needed:
        site = sorted(there ^ needed)[0]
        where = part_path(Path(), asked.round, site).as_posix()
        what = "is missing" if site in needed else "is in no sum"
        raise ReleaseError(f"{where} {what}")
    if len(needed) < plan.min_sites:
        raise ReleaseError(
            f"round {asked.round} has the parts of {len(needed)} sites; the plan needs "
            f"{plan.min_sites}"
        )
    return sorted(needed)


def _check_parts(
    evidence: Path,
    plan: Plan,
    asked: RoundQuery,
    lines: Mapping[str, AnsweredAttempt],
    opened: Mapping[int, OpenedRound],
) -> None:
    shares = {}
    for site, line in lines.items():
        path = part_path(evidence, asked.round, site)
        part = read_part(path, site=site, key=plan.site(site).key)
        where = f"{path.parent.name}/{path.name}"
        if part.header.request_digest != line.request_digest:
            raise ReleaseError(f"{where} answers another request than the ledger of {site} shows")
        if part.header.arrays_digest != line.answer_digest:
            raise ReleaseError(f"{where} is not the answer that the ledger of {site} committed to")
        shares[site] = part.arrays
    if asked.query is Query.TRAIN:
        return
    try:
        total = open_sum(
            {site: arrays["sum"] for site, arrays in shares.items()}, roster=list(shares)
        )
    except (KeyError, ConfigError) as error:
        raise ReleaseError(f"the parts of round {asked.round} do not fit together") from error
    if asked.round in opened and not np.array_equal(total, opened[asked.round].total):
        raise ReleaseError(
            f"the parts of round {asked.round} open to another sum than that of the release"
        )
