"""What the steward's pages show, read from a home: typed, and nothing that the ledger lacks.

Reading a ledger checks every signature, and pricing it takes a while. A page that refreshes itself
must not do so each time: what was read is kept until a file of the ledger changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Lock
from typing import Any

from markupsafe import Markup

from fedloom.client.home import Home
from fedloom.client.link.sockets import default_socket, is_served
from fedloom.client.membership import kit_of
from fedloom.client.site_config import SiteConfig
from fedloom.common.errors import FedloomError
from fedloom.deployment.supervisor import standing
from fedloom.privacy.ledger import LedgerView, read_ledger
from fedloom.privacy.ledger.grants import Grant
from fedloom.privacy.ledger.history import spending_by_day
from fedloom.privacy.plan import Plan
from fedloom.web.budget_plot import budget_plot

__all__ = ["GrantShown", "ProgramShown", "RunShown", "SiteReader", "SiteShown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunShown:
    """One run of a plan at this site.

    Attributes:
      study: name.
      plan: digest.
      run: its name.
      state: "open", "finished", "given back", "revoked" or "counted in full".
      round: the last round that this site answered; 0 for none.
      rounds: how many the plan has.
      last_day: UTC day of the last answer; None for none.
    """

    study: str
    plan: str
    run: str
    state: str
    round: int
    rounds: int
    last_day: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantShown:
    """The newest approval of one plan.

    Attributes:
      study: name.
      plan: digest.
      status: "approved", "used up" or "revoked".
      runs: granted.
      left: runs that may still begin.
      epsilon: the price of all runs granted.
      delta: of that price.
    """

    study: str
    plan: str
    status: str
    runs: int
    left: int
    epsilon: float
    delta: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramShown:
    """The vault or the node, as `site up` keeps it."""

    name: str
    running: bool
    restarts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteShown:
    """How a site stands.

    Attributes:
      site: name.
      paused: whether it refuses every query.
      turned_back: whether the home is known to be an older copy of itself.
      vault_serves: whether a vault answers on the home's socket, or is kept running.
      programs: those that `site up` keeps.
      coordinator: HOST:PORT of the federation; None if none was joined.
      budget: as `fedloom budget show --json` says.
      limit_in_words: the limits that bind, and who sets them.
      grants: the newest approval of each plan, newest last.
      runs: in the order in which they began.
    """

    site: str
    paused: bool
    turned_back: bool
    vault_serves: bool
    programs: list[ProgramShown]
    coordinator: str | None
    budget: dict[str, Any]
    limit_in_words: str
    grants: list[GrantShown]
    runs: list[RunShown]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What was read of a ledger, and of which state of its files."""

    stamp: object
    view: LedgerView
    budget: dict[str, Any]
    grants: list[GrantShown]
    runs: list[RunShown]


class SiteReader:
    """Reads a home for the pages; used by several threads."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self._lock = Lock()
        self._known: _Known | None = None
        self._plot: tuple[object, Markup] | None = None

    def ledger(self) -> LedgerView:
        """Returns the home's ledger, checked."""
        return self._read().view

    def shown(self) -> SiteShown:
        """Returns how the site stands."""
        known, config = self._read(), self._config()
        held = standing(self.home.path)
        programs = [
            ProgramShown(name=name, running=p["pid"] is not None, restarts=int(p["restarts"]))
            for name, p in ({} if held is None else held[1]).items()
        ]
        kit = kit_of(self.home.path)
        return SiteShown(
            site=config.name,
            paused=self.home.paused_path.exists(),
            turned_back=self.home.turned_back_path.exists(),
            vault_serves=is_served(default_socket(self.home.path))
            or any(p.name == "vault" and p.running for p in programs),
            programs=programs,
            coordinator=None if kit is None else kit.address,
            budget=known.budget,
            limit_in_words=known.view.limits(config.policy.limits).in_words,
            grants=known.grants,
            runs=known.runs,
        )

    def plot(self) -> Markup:
        """Draws the budget over time."""
        known, today = self._read(), datetime.now(UTC).date()
        key = (known.stamp, today)
        with self._lock:
            if self._plot is not None and self._plot[0] == key:
                return self._plot[1]
        limit, delta = known.budget["epsilon_limit"], known.budget["delta"]
        days = spending_by_day(known.view.entries, delta)
        drawn = budget_plot(days, limit=limit, delta=delta, today=today)
        with self._lock:
            self._plot = (key, drawn)
        return drawn

    def _config(self) -> SiteConfig:
        return SiteConfig.load(self.home.config_path)

    def _read(self) -> _Known:
        limits, files = self._config().policy.limits, []
        for name in ("ledger.db", "ledger.db-wal", "ledger.head"):
            try:
                status = (self.home.path / name).stat()
                files.append((name, status.st_mtime_ns, status.st_size))
            except FileNotFoundError:
                files.append((name, 0, 0))
        stamp = (limits, tuple(files))
        with self._lock:
            if self._known is None or self._known.stamp != stamp:
                view = read_ledger(self.home.path)
                grants, runs = _grants_and_runs(self.home, view)
                self._known = _Known(
                    stamp=stamp, view=view, budget=view.budget(limits), grants=grants, runs=runs
                )
            return self._known


def _grants_and_runs(home: Home, view: LedgerView) -> tuple[list[GrantShown], list[RunShown]]:
    last_days: dict[tuple[str, str], str] = {}
    approvals: dict[str, int] = {}
    order: dict[tuple[str, str], int] = {}
    for entry in view.entries:
        body = entry.read()
        if body.kind == "approve":
            approvals[body.data["plan"]] = entry.seq
        elif body.kind == "reserve":
            order[body.data["plan"], body.data["run"]] = entry.seq
        elif body.kind == "commit":
            last_days[body.data["plan"], body.data["run"]] = body.day
    grants, runs = [], []
    rounds = {digest: _num_rounds(home, digest) for digest in approvals}
    for digest in sorted(approvals, key=approvals.__getitem__):
        of_plan = view.grants(digest)
        newest = of_plan[-1]
        grants.append(
            GrantShown(
                study=newest.approval["name"],
                plan=digest,
                status=_status(newest),
                runs=newest.num_runs,
                left=newest.left,
                epsilon=float(newest.approval["summary"].get("epsilon", 0.0)),
                delta=float(newest.approval["summary"].get("delta", 0.0)),
            )
        )
        for grant in of_plan:
            for run in grant.runs:
                answered = (a.round for a in run.attempts.values() if a.answer_digest is not None)
                done = max(answered, default=0)
                state = "revoked" if grant.revoked else "open"
                if run.finished:
                    state = "finished" if run.committed else "given back"
                if run.lost or grant.lost:
                    state = "counted in full"
                runs.append(
                    RunShown(
                        study=newest.approval["name"],
                        plan=digest,
                        run=run.run,
                        state=state,
                        round=done,
                        rounds=max(rounds[digest], done),
                        last_day=last_days.get((digest, run.run)),
                    )
                )
    return grants, sorted(runs, key=lambda run: order.get((run.plan, run.run), 0))


def _status(grant: Grant) -> str:
    if grant.revoked:
        return "revoked"
    return "used up" if grant.ended else "approved"


def _num_rounds(home: Home, digest: str) -> int:
    """Returns how many rounds an approved plan has; 0 where its file is gone."""
    try:
        return len(Plan.load(home.plan_path(digest)).rounds)
    except FedloomError:
        return 0
