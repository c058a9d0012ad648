"""A coordinator's metrics: what its audit log, its runs' folders and its SuperLink say.

All of it is what the coordinator saw. Seconds are those of a whole exchange, until the last site's
answer; none is a site's.
"""

from __future__ import annotations

import calendar
import math
import shutil
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from fedloom import __version__
from fedloom.common.audit_entries import Asked, Exchanged, Message
from fedloom.common.audit_log import AuditLog
from fedloom.common.audit_tail import AuditTail
from fedloom.common.errors import FedloomError
from fedloom.common.vocabulary import Status
from fedloom.deployment.run_standing import online_institutions
from fedloom.monitoring.catalogue import COORDINATOR, REFUSALS, Families
from fedloom.monitoring.health import (
    certificate_end,
    certificates,
    coordinator_health,
    superlink_answers,
)
from fedloom.server.provision.coordinator_home import CoordinatorHome
from fedloom.server.run_folder import RunFolder
from fedloom.server.status import current_status

__all__ = ["CoordinatorCollector"]

_BOUNDS_S = (1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0, math.inf)
_RUNS_SHOWN = 20


class CoordinatorCollector(Collector):
    """Collects a coordinator's metrics; see `fedloom.monitoring.catalogue.COORDINATOR` for each.

    Args:
      home: the coordinator's.
    """

    def __init__(self, home: CoordinatorHome) -> None:
        self._home = home
        self._tail = AuditTail(AuditLog(home.path))
        self._attempts: Counter[str] = Counter()
        self._newest: dict[tuple[str, int], int] = {}
        self._answered: set[tuple[str, int]] = set()
        self._answers: Counter[str] = Counter()
        self._refusals: Counter[tuple[str, str]] = Counter()
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._at_most: Counter[tuple[str, float]] = Counter()
        self._round_seconds: dict[str, float] = {}
        self._last_message: dict[str, int] = {}
        self._plan_rounds: dict[Path, int] = {}

    def collect(self) -> Iterator[Metric]:
        """Yields all metrics as they are now."""
        home, found = self._home, Families(COORDINATOR)
        self._count()
        found.add("fedloom_coordinator_info", 1, version=__version__)
        found.add("fedloom_coordinator_ready", coordinator_health(home).ready)
        found.add("fedloom_coordinator_superlink_up", superlink_answers(home))
        found.add("fedloom_coordinator_audit_log_whole", self._tail.whole)
        self._add_messages(found)
        self._add_sites(found)
        self._add_runs(found)
        for name, path in certificates(home).items():
            end = certificate_end(path)
            if end is not None:
                found.add(
                    "fedloom_coordinator_certificate_expiry_timestamp_seconds",
                    end,
                    certificate=name,
                )
        found.add("fedloom_coordinator_disk_free_bytes", shutil.disk_usage(home.path).free)
        yield from found.all()

    def _count(self) -> None:
        """Adds up what the audit log got since the last look."""
        for line in self._tail.new():
            entry = line.entry
            if isinstance(entry, Asked | Exchanged):
                moment = time.strptime(line.time[:19], "%Y-%m-%dT%H:%M:%S")
                self._last_message[entry.run] = calendar.timegm(moment)
            match entry:
                case Asked() if entry.round:
                    key = entry.run, entry.round
                    self._attempts[entry.query] += self._newest.get(key, 0) < entry.attempt
                    self._newest[key] = max(self._newest.get(key, 0), entry.attempt)
                case Message() if entry.site is not None:
                    if entry.outcome == Status.OK:
                        self._answers[entry.site] += 1
                    else:
                        self._refusals[entry.site, entry.outcome] += 1
                case Exchanged():
                    self._seconds[entry.phase] += entry.seconds
                    for bound in _BOUNDS_S:
                        self._at_most[entry.phase, bound] += entry.seconds <= bound
                    if entry.round and entry.answered:
                        self._answered.add((entry.run, entry.round))
                        self._round_seconds[entry.run] = entry.seconds

    def _add_messages(self, found: Families) -> None:
        for query, count in sorted(self._attempts.items()):
            found.add("fedloom_coordinator_attempts", count, query=query)
        void = sum(self._newest.values()) - len(self._newest)
        found.add("fedloom_coordinator_void_attempts", void)
        found.add("fedloom_coordinator_rounds", len(self._answered))
        # From zero on: Prometheus sees no increase in a series that begins with its first count.
        for card in self._home.cards():
            self._answers[card.name] += 0
            for code in (*REFUSALS, "rejected"):
                self._refusals[card.name, code] += 0
        for site, count in sorted(self._answers.items()):
            found.add("fedloom_coordinator_answers", count, site=site)
        for (site, code), count in sorted(self._refusals.items()):
            found.add("fedloom_coordinator_refusals", count, site=site, code=code)
        for phase, total in sorted(self._seconds.items()):
            buckets = [
                ("+Inf" if bound == math.inf else str(bound), self._at_most[phase, bound])
                for bound in _BOUNDS_S
            ]
            found.add_histogram("fedloom_coordinator_exchange_seconds", buckets, total, phase=phase)

    def _add_sites(self, found: Families) -> None:
        cards = self._home.cards()
        found.add("fedloom_coordinator_sites_invited", len(cards))
        online = online_institutions(self._home)
        if online is not None:
            for card in cards:
                found.add("fedloom_coordinator_site_online", card.name in online, site=card.name)

    def _add_runs(self, found: Families) -> None:
        """Adds all runs' states, and the newest runs one by one."""
        states = Counter(dict.fromkeys(("begun", "running", "done", "failed"), 0))
        folders = [folder for path in self._home.runs() if (folder := RunFolder(path)).exists()]
        for number, folder in enumerate(reversed(folders)):
            try:
                state, status = folder.state(), current_status(folder.path)
                now = "done" if folder.done() else "begun" if status is None else status.state
                states[now] += 1
                if number < _RUNS_SHOWN:
                    self._add_run(found, folder, str(state["run"]), str(state["name"]), now)
            except (FedloomError, OSError, KeyError, ValueError):
                states["unreadable"] += 1
        for name, count in sorted(states.items()):
            found.add("fedloom_coordinator_runs", count, state=name)

    def _add_run(self, found: Families, folder: RunFolder, run: str, study: str, now: str) -> None:
        if folder.path not in self._plan_rounds:
            self._plan_rounds[folder.path] = len(folder.plan().rounds)
        metrics = folder.metrics()
        epsilons = [value for line in metrics for value in line.get("epsilon", {}).values()]
        values = {
            "active": float(now == "running"),
            "round": max((line["round"] for line in metrics), default=0),
            "rounds": self._plan_rounds[folder.path],
            "epsilon": max(epsilons, default=0.0),
            "round_seconds": self._round_seconds.get(run),
            "last_message_timestamp_seconds": self._last_message.get(run),
        }
        for name, value in values.items():
            if value is not None:
                found.add(f"fedloom_coordinator_run_{name}", value, run=run, study=study)
