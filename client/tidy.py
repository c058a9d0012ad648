"""Deletes what a home need not keep: frozen records whose approval has ended, half-written files.

The records of an approved plan are frozen as codes, with the salt of the ledger's commitment to
them (`fedloom.client.records`). When the approval is used up or revoked and its runs are finished,
nothing can be answered from them any more. A vault then deletes them itself; what a crash left
behind, or an approval that was never signed, is found here. Plans stay: they hold nothing private,
and the next one is compared with them. The ledger is never touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fedloom.client.home import Home
from fedloom.privacy.ledger import Grant

__all__ = ["Leftover", "delete", "forget_ended", "leftovers"]


class _Grants(Protocol):
    """A ledger, open for writing or read."""

    def grants(self, plan: str) -> Sequence[Grant]:
        """Returns all that was ever approved of a plan."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """A file that nothing needs any more.

    Attributes:
      path: where it lies.
      why: "used-up", "revoked", "never-signed" or "half-written".
    """

    path: Path
    why: str


def leftovers(home: Home, ledger: _Grants) -> list[Leftover]:
    """Finds what may be deleted in a home, in the order of paths; changes nothing.

    While somebody approves a plan, its records are frozen and not signed yet: to delete what is
    found, hold the ledger open for writing.
    """
    found = [
        Leftover(path=path, why="half-written")
        for folder in (home.path, home.approved, home.snapshots)
        for path in folder.glob("*.partial")
        if path.is_file()
    ]
    frozen = [*home.snapshots.glob("*.npz"), *home.snapshots.glob("*.salt")]
    for path in [*frozen, *home.approved.glob("*.json")]:
        why = _why(home, path.stem, ledger.grants(path.stem))
        is_plan = path.parent == home.approved
        if why == "never-signed" or (why is not None and not is_plan):
            found.append(Leftover(path=path, why=why))
    return sorted(found, key=lambda leftover: leftover.path)


def delete(found: Sequence[Leftover]) -> None:
    """Deletes files; one that is gone already is no error."""
    for leftover in found:
        leftover.path.unlink(missing_ok=True)


def forget_ended(home: Home, ledger: _Grants, plan: str) -> bool:
    """Deletes the frozen records of a plan if nothing more can be answered from them.

    Returns:
      Whether nothing can.
    """
    grants = ledger.grants(plan)
    if not grants or not grants[-1].ended:
        return False
    home.forget_records(plan)
    return True


def _why(home: Home, plan: str, grants: Sequence[Grant]) -> str | None:
    """Says why nothing more can be answered from a plan's frozen records; None if it may be."""
    if not grants:
        return "never-signed"
    gone = not home.plan_path(plan).exists()  # revoked, also before a vault has written that down
    if gone or (grants[-1].revoked and grants[-1].ended):
        return "revoked"
    return "used-up" if grants[-1].ended else None
