"""What the coordinator's pages show: servers, institutions, runs, certificates.

All of it is made of public numbers and of what run folders and the audit log hold anyway. The
SuperLink is asked at most every few seconds, however many pages are open.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any

import msgspec
from cryptography import x509

from fedloom.cli.coordinator_up import describe
from fedloom.common.digest import sha256_hex
from fedloom.common.errors import ConfigError, FedloomError, VerificationError
from fedloom.common.vocabulary import Status
from fedloom.deployment.run_standing import run_standing
from fedloom.server.provision.coordinator_home import CoordinatorHome
from fedloom.server.run_folder import RunFolder

__all__ = [
    "CertificateShown",
    "CoordinatorReader",
    "CoordinatorShown",
    "InstitutionShown",
    "RunSummary",
]

_FRESH_S = 3.0
_TAIL_BYTES = 1 << 18


@dataclass(frozen=True, slots=True, kw_only=True)
class InstitutionShown:
    """An invited site.

    Attributes:
      name: in studies.
      fingerprint: of its card.
      registered: whether its node may connect; None if the SuperLink does not say.
      online: whether its node is connected; None likewise.
      last_answer: UTC to the minute, of its newest accepted answer; None for none of late.
    """

    name: str
    fingerprint: str
    registered: bool | None
    online: bool | None
    last_answer: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateShown:
    """A certificate and how long it holds.

    Attributes:
      name: whose.
      ends: UTC day.
      days: until then; below 0 if it has ended.
    """

    name: str
    ends: str
    days: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """A run of this coordinator.

    Attributes:
      id: stands for the run in addresses.
      standing: as `fedloom watch --json` says.
      receipts: sites whose receipts for the plan are kept.
      void: void attempts: round, query, attempt and the sites that had answered.
    """

    id: str
    standing: dict[str, Any]
    receipts: list[str]
    void: list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class CoordinatorShown:
    """How a coordinator stands.

    Attributes:
      address: HOST:PORT for institutions.
      up: who keeps the servers running; None for nobody.
      superlink: whether it answers.
      problem: why the SuperLink could not be asked; empty if it was.
      programs: name, whether it runs, and how often it was started again.
      institutions: in the order of their names.
      certificates: the server's and the authority's.
      runs: in the order in which they began.
      unread: folders of runs that cannot be read, and why.
    """

    address: str
    up: str | None
    superlink: bool
    problem: str
    programs: list[tuple[str, bool, int]]
    institutions: list[InstitutionShown]
    certificates: list[CertificateShown]
    runs: list[RunSummary]
    unread: list[tuple[str, str]]


class CoordinatorReader:
    """Reads a coordinator's home for the pages; used by several threads."""

    def __init__(self, home: CoordinatorHome) -> None:
        self.home = home
        self._lock = Lock()
        self._read_at = -_FRESH_S
        self._shown: CoordinatorShown | None = None
        self._done: dict[tuple[Path, int], RunSummary] = {}

    def shown(self) -> CoordinatorShown:
        """Returns how the coordinator stands, or stood a few seconds ago."""
        with self._lock:
            now = time.monotonic()
            if self._shown is None or now - self._read_at >= _FRESH_S:
                self._shown, self._read_at = self._read(), now
            return self._shown

    def forget(self) -> None:
        """Has the next page read anew, after something was done."""
        with self._lock:
            self._shown = None

    def run(self, run_id: str) -> tuple[RunSummary, RunFolder]:
        """Returns a run of the list.

        Raises:
          ConfigError: there is none of that name.
        """
        for run in self.shown().runs:
            if run.id == run_id:
                return run, RunFolder(Path(run.standing["run"]))
        raise ConfigError("no run of that name is in the coordinator's list; see `fedloom runs`")

    def _read(self) -> CoordinatorShown:
        problem, last = "", _last_answers(self.home.path)
        try:
            said = describe(self.home)
        except FedloomError as error:
            problem, said = str(error), {}
        known = {one["name"]: one for one in said.get("institutions", [])}
        answers = bool(said.get("superlink"))
        institutions = [
            InstitutionShown(
                name=card.name,
                fingerprint=card.fingerprint(),
                registered=known[card.name]["registered"] if answers else None,
                online=known[card.name]["online"] if answers else None,
                last_answer=last.get(card.name),
            )
            for card in self.home.cards()
        ]
        online = {one.name for one in institutions if one.online} if answers else None
        runs, unread = self._runs(online)
        return CoordinatorShown(
            address=self.home.settings().address,
            up=said.get("up"),
            superlink=answers,
            problem=problem,
            programs=[
                (name, program["pid"] is not None, int(program["restarts"]))
                for name, program in said.get("programs", {}).items()
            ],
            institutions=institutions,
            certificates=[
                _certificate("server", self.home.server_certificate),
                _certificate("authority", self.home.authority.certificate),
            ],
            runs=runs,
            unread=unread,
        )

    def _runs(self, online: set[str] | None) -> tuple[list[RunSummary], list[tuple[str, str]]]:
        runs, unread = [], []
        for path in self.home.runs():
            folder = RunFolder(path)
            try:
                if folder.exists():
                    runs.append(self._summary(folder, online))
            except (FedloomError, KeyError) as error:
                unread.append((str(path), str(error)))
        return runs, unread

    def _summary(self, folder: RunFolder, online: set[str] | None) -> RunSummary:
        """Reads a run; one that is done does not change, but for who is online."""
        key = (folder.path, folder.state_path.stat().st_mtime_ns)
        if (known := self._done.get(key)) is not None:
            sites = [
                {**site, "online": None if online is None else site["name"] in online}
                for site in known.standing["sites"]
            ]
            return replace(known, standing={**known.standing, "sites": sites})
        try:
            receipts = sorted(self.home.receipts_for(folder.plan()))
        except VerificationError:  # one does not hold; `coordinate` refuses it
            receipts = []
        summary = RunSummary(
            id=sha256_hex(str(folder.path).encode())[:16],
            standing=run_standing(folder, online),
            receipts=receipts,
            void=list(folder.state().get("void", [])),
        )
        if folder.done():
            self._done[key] = summary
        return summary


def _certificate(name: str, path: Path) -> CertificateShown:
    ends = x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
    left = ends - datetime.now(UTC)
    return CertificateShown(name=name, ends=ends.date().isoformat(), days=left.days)


def _last_answers(folder: Path) -> dict[str, str]:
    """Returns when each site's newest answer was accepted, from the end of the audit log."""
    found: dict[str, str] = {}
    try:
        with (folder / "audit.jsonl").open("rb") as stream:
            stream.seek(max(stream.seek(0, 2) - _TAIL_BYTES, 0))
            lines = stream.read().splitlines()
    except OSError:
        return found
    for line in lines:
        try:
            value = msgspec.json.decode(line)
        except msgspec.DecodeError:  # a part of a line, where the end begins
            continue
        if value.get("kind") == "message" and value.get("outcome") == Status.OK:
            if site := value.get("site"):
                found[str(site)] = f"{value['time'][:10]} {value['time'][11:16]}"
    return found
