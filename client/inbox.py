"""Plans that wait for a steward's decision: files in the folder `inbox/` of a home.

    inbox/NAME.json          a plan that came from the coordinator, in whatever way
    inbox/refused/           plans that the steward put aside; nothing tells the coordinator

A file here grants nothing. Whatever does not read as a plan of this version is shown with the
reason and stays where it is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fedloom.client.home import Home
from fedloom.common.digest import canonical_json
from fedloom.common.errors import ConfigError, FedloomError, ReleaseError, StudyError
from fedloom.common.files import read_plain, write_whole
from fedloom.common.strict_json import parse_json
from fedloom.privacy.ledger import LedgerView
from fedloom.privacy.plan import Plan

__all__ = ["MAX_PLAN_BYTES", "Inbox", "Unread"]

MAX_PLAN_BYTES = 4 << 20
"""The largest plan that is taken in."""
_MOST = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """A file that is no plan.

    Attributes:
      name: of the file.
      why: it cannot be read.
    """

    name: str
    why: str


class Inbox:
    """The plans that wait in one home.

    Args:
      home: the home; its folder is made with the first plan.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self.folder = home.path / "inbox"
        self.refused_folder = self.folder / "refused"

    def waiting(self, ledger: LedgerView) -> tuple[list[Plan], list[Unread]]:
        """Returns the plans that are neither approved nor refused, and what could not be read.

        Args:
          ledger: the home's. A plan whose approval has ended waits again if it lies here.
        """
        plans, unread = self._read(self.folder)
        waiting = []
        for plan in plans:
            grants = ledger.grants(plan.digest())
            if not grants or grants[-1].ended:
                waiting.append(plan)
        return waiting, unread

    def refused(self) -> list[Plan]:
        """Returns the plans that were put aside."""
        return self._read(self.refused_folder)[0]

    def add(self, data: bytes) -> Plan:
        """Takes in a plan; its name is its digest, so one that is here already stays one.

        Raises:
          StudyError: it is not a plan of this version, or too large.
        """
        plan = _plan(data, "the file")
        self.folder.mkdir(mode=0o700, exist_ok=True)
        write_whole(self._path(plan), canonical_json(plan.to_dict()), private=True)
        (self.refused_folder / self._path(plan).name).unlink(missing_ok=True)
        return plan

    def find(self, digest: str) -> Plan:
        """Returns a plan that waits, was refused or is approved.

        Raises:
          ConfigError: no plan has that digest.
        """
        for folder in (self.folder, self.refused_folder):
            for plan in self._read(folder)[0]:
                if plan.digest() == digest:
                    return plan
        for path in self._home.approved.glob("*.json"):
            if path.stem == digest:
                return Plan.load(path)
        raise ConfigError(
            f"no plan {digest[:12]} is in {self.folder}; put the file that the coordinator sent "
            "there, or add it on the page"
        )

    def refuse(self, digest: str) -> None:
        """Puts a plan aside; nothing is signed, and nobody is told.

        Raises:
          ConfigError: it does not wait here.
        """
        for path, plan in self._plans(self.folder):
            if plan.digest() == digest:
                self.refused_folder.mkdir(mode=0o700, exist_ok=True)
                os.replace(path, self.refused_folder / self._path(plan).name)
                return
        raise ConfigError(f"no plan {digest[:12]} waits in {self.folder}; see what is there")

    def forget(self, digest: str) -> None:
        """Deletes the files of a plan that was approved: the approved copy stays in the home."""
        for folder in (self.folder, self.refused_folder):
            for path, plan in self._plans(folder):
                if plan.digest() == digest:
                    path.unlink(missing_ok=True)

    def _path(self, plan: Plan) -> Path:
        return self.folder / f"{plan.digest()}.json"

    def _plans(self, folder: Path) -> Iterator[tuple[Path, Plan]]:
        for path in sorted(folder.glob("*.json"))[:_MOST]:
            try:
                yield path, _plan(read_plain(path, MAX_PLAN_BYTES), path.name)
            except FedloomError:
                continue

    def _read(self, folder: Path) -> tuple[list[Plan], list[Unread]]:
        plans: dict[str, Plan] = {}
        unread = []
        for path in sorted(folder.glob("*.json"))[:_MOST]:
            try:
                plan = _plan(read_plain(path, MAX_PLAN_BYTES), path.name)
                plans[plan.digest()] = plan
            except FedloomError as error:
                unread.append(Unread(name=path.name, why=str(error)))
        return list(plans.values()), unread


def _plan(data: bytes, name: str) -> Plan:
    if len(data) > MAX_PLAN_BYTES:
        raise StudyError(f"{name} has more than {MAX_PLAN_BYTES:,} bytes; it must be a plan")
    try:
        return Plan.from_dict(parse_json(data, name))
    except ReleaseError as error:
        raise StudyError(f"{name} is no readable plan: {error}") from error
