"""Notes in the coordinator's audit log what is asked of sites, and what each answered.

What is asked is on disk before it is sent; each site's answer before it is used. Seconds are those
of all sites together, until the last answer: how long one site took depends on its records.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping

from fedloom.common.audit_entries import Asked, Exchanged, Message
from fedloom.common.audit_log import AuditLog
from fedloom.common.messages import Request
from fedloom.privacy.keys import fingerprint
from fedloom.privacy.plan import Plan

__all__ = ["ExchangeAudit"]


class ExchangeAudit:
    """Notes the messages of one run.

    Args:
      log: the coordinator's; None for a simulation, which has none.
      plan: the run's.
    """

    def __init__(self, log: AuditLog | None, plan: Plan) -> None:
        self._log = log
        self._plan = plan
        self._began = 0.0

    def asks(self, request: Request, sites: Collection[str]) -> None:
        """Notes what is about to be sent.

        Raises:
          DiskFullError: it could not be noted, so it must not be sent.
        """
        self._began = time.monotonic()
        if self._log is not None:
            self._log.append(
                Asked(
                    query=str(request.query),
                    plan=request.plan,
                    run=request.run,
                    round=request.round,
                    attempt=request.attempt,
                    sites=tuple(sites),
                )
            )

    def got(self, request: Request, outcomes: Mapping[str, str]) -> None:
        """Notes what came back.

        Args:
          request: what was sent.
          outcomes: by site: "ok", the code of a refusal, "silence" or "rejected".

        Raises:
          DiskFullError: it could not be noted, so no answer must be used.
        """
        if self._log is None:
            return
        seconds = round(time.monotonic() - self._began, 3)
        signed = [site for site, said in outcomes.items() if said not in ("silence", "rejected")]
        keys = {site: self._plan.site(site).key for site in signed}
        answers = [
            Message(
                outcome=outcome,
                query=str(request.query),
                plan=request.plan,
                run=request.run,
                round=request.round,
                attempt=request.attempt,
                site=site,
                sender=fingerprint(key) if (key := keys.get(site)) else None,
            )
            for site, outcome in outcomes.items()
        ]
        phases = [one.phase.name for one in self._plan.rounds if one.round == request.round]
        self._log.append(
            *answers,
            Exchanged(
                query=str(request.query),
                run=request.run,
                round=request.round,
                attempt=request.attempt,
                answered=sum(outcome == "ok" for outcome in outcomes.values()),
                seconds=seconds,
                phase=phases[0] if phases else str(request.query),
            ),
        )
