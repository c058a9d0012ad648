"""Are the ledgers of a release whole, and what must a reader know about them?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fedloom.common.errors import ReleaseError
from fedloom.common.strict_json import read_json
from fedloom.privacy.keys import fingerprint
from fedloom.privacy.plan import Plan
from fedloom.privacy.release.account import SiteAccount, account_of
from fedloom.privacy.release.manifest import LedgerEnd, Manifest

__all__ = ["account_in", "check_ledgers", "notes_on"]


def account_in(folder: Path, manifest: Manifest, plan: Plan, site: str) -> tuple[SiteAccount, str]:
    """Reads the ledger extract of one site, and returns its account and what was found.

    Raises:
      ReleaseError: the extract cannot be read, or ends at another head than the manifest says.
      LedgerError: it does not hold; see `account_of`.
    """
    extract = read_json(folder / "ledger" / f"{site}.json")
    account = account_of(extract, plan, manifest.run, site)
    head = LedgerEnd(seq=account.seq, hash=account.head, public_key=account.key)
    if head != manifest.ledgers[site]:
        raise ReleaseError(f"the ledger of {site} ends at another head than the manifest says")
    return account, (
        f"{account.seq} entries to its head, signed; {account.rounds} of {len(plan.rounds)} "
        f"rounds answered, {len(account.answered)} attempts charged, within what was reserved"
    )


def check_ledgers(manifest: Manifest, accounts: Mapping[str, SiteAccount]) -> str:
    """Checks that the ledgers in the folder are those that the manifest names, and all hold.

    Raises:
      ReleaseError: they are not, or there are none.
    """
    listed = {entry.path for entry in manifest.files}
    extracts = {path for path in listed if path.startswith("ledger/")}
    if extracts != {f"ledger/{site}.json" for site in manifest.ledgers} or not extracts:
        raise ReleaseError("the ledgers in the folder are not those that the manifest names")
    if set(manifest.ledgers) != set(accounts):
        raise ReleaseError("a ledger does not hold, or is that of a site the plan does not have")
    return f"{len(extracts)} sites"


def notes_on(plan: Plan, accounts: Mapping[str, SiteAccount]) -> list[str]:
    """Returns what a reader must know although nothing is wrong."""
    known = accounts.values()
    notes = [
        _note("rehearsal: covers this run alone", [a.site for a in known if a.rehearsal]),
        _note(
            "noise from a known seed: this protects nobody",
            [a.site for a in known if a.insecure],
        ),
        _note(
            "no ledger here: it took no part, or its ledger was left out",
            [site.name for site in plan.sites if site.name not in accounts],
        ),
    ]
    for account in known:
        if account.former_keys:
            keys = ", ".join(map(fingerprint, (*account.former_keys, account.key)))
            notes.append(
                f"its keys have changed, and each has signed the next ({account.site}, "
                f"fingerprints {keys}); one that you know must be among them"
            )
        if account.runs > 1:
            together = account.epsilon_of_all_runs(plan.delta)
            notes.append(
                f"{account.runs} runs of this plan answered, together at epsilon {together:.4g}: "
                f"this release may have been chosen among them ({account.site})"
            )
    return [note for note in notes if note]


def _note(note: str, sites: list[str]) -> str:
    return f"{note} ({', '.join(sites)})" if sites else ""
