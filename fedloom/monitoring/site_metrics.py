"""A site's metrics, read from its home: its ledger and its audit log.

The vault itself serves nothing: it has no network. Counts come from the audit log, so they go on
when a program is started again. Budgets are computed anew only when the ledger has grown.
"""

from __future__ import annotations

import calendar
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from fedloom import __version__
from fedloom.client.home import Home
from fedloom.client.message_audit import LOOKS
from fedloom.client.site_config import SiteConfig
from fedloom.common.audit_entries import Message, MoreMessages
from fedloom.common.audit_log import AuditLog
from fedloom.common.audit_tail import AuditTail
from fedloom.common.vocabulary import Query, Status
from fedloom.monitoring.catalogue import REFUSALS, SITE, Families
from fedloom.monitoring.health import certificate_end, site_health, vault_serves
from fedloom.privacy.ledger import Limits, read_ledger

__all__ = ["SiteCollector"]

_HOUR_S = 3600
_INTERVAL = 1e-3  # of the PLD: a coarse grid overstates, and is fast


class SiteCollector(Collector):
    """Collects a site's metrics; see `fedloom.monitoring.catalogue.SITE` for each.

    Args:
      home: the site's.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._tail = AuditTail(AuditLog(home.path))
        # From zero on: Prometheus sees no increase in a series that begins with its first count.
        self._answers = Counter(dict.fromkeys((str(query) for query in Query), 0))
        self._refusals = Counter(dict.fromkeys(REFUSALS, 0))
        self._last_answer = 0
        self._ledger: tuple[tuple[bytes, Limits | None], dict[str, Any]] | None = None

    def collect(self) -> Iterator[Metric]:
        """Yields all metrics as they are now.

        Raises:
          LedgerError: the ledger cannot be read.
        """
        home, found = self._home, Families(SITE)
        self._count()
        ledger = self._numbers()
        found.add("fedloom_site_info", 1, site=ledger["site"], version=__version__)
        found.add("fedloom_site_ready", site_health(home).ready)
        found.add("fedloom_site_vault_up", vault_serves(home))
        found.add("fedloom_site_paused", home.paused_path.exists())
        found.add("fedloom_site_turned_back", home.turned_back_path.exists())
        found.add("fedloom_site_audit_log_whole", self._tail.whole)
        for query, count in sorted(self._answers.items()):
            found.add("fedloom_site_answers", count, query=query)
        for code, count in sorted(self._refusals.items()):
            found.add("fedloom_site_refusals", count, code=code)
        if self._last_answer:
            found.add("fedloom_site_last_answer_timestamp_seconds", self._last_answer)
        found.add("fedloom_site_rounds", ledger["rounds"])
        found.add("fedloom_site_open_runs", ledger["open_runs"])
        found.add("fedloom_site_delta", ledger["delta"])
        for name in ("limit", "spent", "reserved", "lifetime"):
            found.add(f"fedloom_site_epsilon_{name}", ledger[f"epsilon_{name}"])
        left = max(0.0, ledger["epsilon_limit"] - ledger["epsilon_lifetime"])
        found.add("fedloom_site_epsilon_left", left)
        end = certificate_end(home.authority_path)
        if end is not None:
            found.add(
                "fedloom_site_certificate_expiry_timestamp_seconds", end, certificate="authority"
            )
        free = shutil.disk_usage(home.path).free
        found.add("fedloom_site_disk_free_bytes", 1 << max(0, free.bit_length() - 1))
        yield from found.all()

    def _count(self) -> None:
        """Adds up what the audit log got since the last look."""
        for line in self._tail.new():
            entry = line.entry
            if isinstance(entry, MoreMessages):
                self._refusals.update(
                    {code: n for code, n in entry.outcomes.items() if code != Status.OK}
                )
            elif isinstance(entry, Message) and entry.outcome != Status.OK:
                self._refusals[entry.outcome] += 1
            elif isinstance(entry, Message) and not entry.stored:
                self._answers[str(entry.query)] += 1
                if entry.query not in LOOKS:
                    moment = calendar.timegm(time.strptime(line.time[:19], "%Y-%m-%dT%H:%M:%S"))
                    self._last_answer = moment // _HOUR_S * _HOUR_S

    def _numbers(self) -> dict[str, Any]:
        """Returns what the ledger says, from memory as long as it has not grown."""
        policy = SiteConfig.limits_at(self._home.config_path)
        key = self._home.head_path.read_bytes(), policy
        if self._ledger is None or self._ledger[0] != key:
            view = read_ledger(self._home.path)
            kinds = Counter(entry.read().kind for entry in view.entries)
            numbers = view.budget(policy, _INTERVAL)
            open_runs = sum(study["status"] == "reserved" for study in numbers["studies"])
            self._ledger = key, {**numbers, "rounds": kinds["commit"], "open_runs": open_runs}
        return self._ledger[1]
