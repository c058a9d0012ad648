"""One request to all sites, and which of their answers count.

Requests are signed with the coordinator's key, which the plan names, or no site would answer.
Sites are named in the plan too; an answer counts only if its signature holds for that site's key
and it answers this very message. The head of a site's ledger travels with every answer and is
remembered over all runs: a ledger that goes back behind a head seen earlier has lost entries, and
with them what was spent.
"""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Callable, Collection
from typing import Any

from fedloom.common.audit_log import AuditLog
from fedloom.common.errors import ConfigError, LedgerError, QuorumError
from fedloom.common.messages import Answer, Request
from fedloom.common.signed_heads import SignedHead
from fedloom.common.vocabulary import Query, Status
from fedloom.privacy.keys import public_key_hex, sign
from fedloom.privacy.ledger import verify_extract
from fedloom.privacy.plan import RoundQuery
from fedloom.server.admission import Rejected, Shapes, admit, check_arrays
from fedloom.server.exchange_audit import ExchangeAudit
from fedloom.server.head_registry import HeadRegistry
from fedloom.server.kept_answers import Attempts
from fedloom.server.ledger_heads import OLDER, LedgerHeads
from fedloom.server.link import Link
from fedloom.server.run_folder import RunFolder

__all__ = ["Sites"]

_NONCE_BYTES = 16
_READY_S, _READY_S_A_SITE = 60.0, 0.3  # answers of a thousand sites take a while to read
_TOLD_REASONS = 20
_CONFLICT = (
    ": this does not fit what it was asked before, as when the run's folder was put back to an "
    "earlier state; put the newer one back, or begin a new run"
)


class Sites:
    """The sites of one run, reached through a link."""

    def __init__(
        self,
        folder: RunFolder,
        link: Link,
        on_event: Callable[[dict[str, Any]], None],
        audit: AuditLog | None = None,
    ) -> None:
        """Takes names, keys and heads from the run folder.

        Args:
          folder: of the run.
          link: reaches the sites.
          on_event: told of progress.
          audit: where messages are noted.

        Raises:
          ConfigError: the folder's key is not the one that the plan names.
        """
        self._folder = folder
        self._link = link
        self._on_event = on_event
        self._plan = folder.plan()
        self._audit = ExchangeAudit(audit, self._plan)
        self._key = folder.key()
        if public_key_hex(self._key) != self._plan.coordinator_key:
            raise ConfigError(
                f"{folder.key_path} is not the key of the coordinator that the plan names, so no "
                "site would answer; restore the key file with which the run was begun"
            )
        state = folder.state()
        self._run = str(state["run"])
        self._heads = LedgerHeads(self._plan, HeadRegistry(folder.heads_path))
        self._reasons: dict[str, str] = {}
        self.names = sorted(site.name for site in self._plan.sites)
        self.ready: set[str] = set()
        self.prepared = False
        """Whether nothing was asked since the sites were prepared last."""
        self.stale: set[str] = set()
        """Sites that no longer knew what they had promised when they were asked last."""

    def prepare(self) -> dict[str, Answer]:
        """Has every site check and reserve the plan; returns answers, refusals included.

        Raises:
          LedgerError: a site's ledger is older than the head that the run folder holds.
        """
        answers = self._send(self._prepare_request())
        self.ready = {site for site, answer in answers.items() if answer.ok}
        self.prepared = True
        for site, reason in self._reasons.items():
            if reason.startswith(OLDER):
                raise LedgerError(f"site {site!r}: {reason}")
        return answers

    def finish(self, run: str | None = None) -> dict[str, list[dict[str, Any]]]:
        """Closes a run at the sites, this one if none is named; returns the extracts that hold."""
        extracts = {}
        run = self._run if run is None else run
        request = self._request(query=Query.FINISH, run=run, known=self._heads.known())
        for site, answer in self._send(request).items():
            finished = answer.header.finished
            if not answer.ok or finished is None:
                continue
            extract = finished.extract
            try:
                summary = verify_extract(extract, self._plan.site(site).key or "")
                summary.run(self._plan.digest(), run)
            except LedgerError as error:
                self._dropped(site, f"its ledger extract does not hold: {error}")
                continue
            extracts[site] = extract
        return extracts

    def refresh_ready(self) -> None:
        """Finds out which sites would answer now; waits a minute, and longer for many sites."""
        patience_s = _READY_S + _READY_S_A_SITE * len(self.names)
        timeout_s = min(patience_s, self._plan.coordination.timeout_s)
        answers = self._send(self._prepare_request(), timeout_s=timeout_s)
        self.ready = {site for site, answer in answers.items() if answer.ok}
        self.prepared = True

    def promises(self, roster: Collection[str]) -> dict[str, SignedHead]:
        """Returns the heads that promised the next answers of a roster."""
        return self._heads.promises(roster)

    def request(self, asked: RoundQuery, arrays: dict[str, Any], attempts: Attempts) -> Request:
        """Makes the request for one round.

        Args:
          asked: the round.
          arrays: what the query takes.
          attempts: of whom it was asked before and is asked now.
        """
        *void, roster = attempts.rosters
        return self._request(
            query=asked.query,
            round=asked.round,
            void=tuple(void),
            params=asked.params,
            arrays=arrays,
            roster=roster,
            masked=self._plan.colluding is not None,
            heads=attempts.heads,
        )

    def ask(self, request: Request, expected: Shapes) -> dict[str, Answer]:
        """Sends a request, each time with a nonce of its own, and returns the usable answers.

        In per-site trust a site that lost its memory is prepared again and asked once more.

        Args:
          request: as `request` makes it.
          expected: shapes and types of an answer's arrays.
        """
        if not request.masked:
            request = dataclasses.replace(request, heads=self.promises(request.roster))
        answers = self._usable(request, expected, request.roster)
        stale = [site for site in request.roster if site in self.stale]
        if stale and not request.masked:
            self.refresh_ready()
            request = dataclasses.replace(request, heads=self.promises(request.roster))
            answers |= self._usable(request, expected, stale)
        return answers

    def _usable(self, request: Request, expected: Shapes, to: Collection[str]) -> dict[str, Answer]:
        request = dataclasses.replace(
            request,
            nonce=secrets.token_hex(_NONCE_BYTES),
            links=self._heads.links(request.heads),
        )
        answers = {}
        self.stale, self.prepared = set(), False
        for site, answer in self._send(request, to=to, expected=expected).items():
            status = answer.header.status
            if not answer.ok:
                back = ", ".join(answer.header.turned_back)
                why = f": {back}" if back else _CONFLICT if status is Status.CONFLICT else ""
                self._dropped(site, f"it refused with '{status}'{why}")
                self.stale |= {site} if status is Status.STALE else set()
                continue
            answers[site] = answer
        computed = [site for site, answer in answers.items() if not answer.header.stored]
        self._heads.shown(request, computed)
        return answers

    def dropout_reasons(self) -> str:
        """Says why sites dropped out of the last message; of many, the first twenty by name."""
        told = [f"{site}: {why}" for site, why in sorted(self._reasons.items())]
        more = len(told) - _TOLD_REASONS
        return "; ".join(told[:_TOLD_REASONS]) + (f"; and {more} more" if more > 0 else "")

    def require_quorum(self, answers: Collection[str], what: str, why: str | None = None) -> None:
        """Holds the number of usable answers against the study's minimum.

        Raises:
          QuorumError: too few.
        """
        needed = self._plan.min_sites
        if len(answers) < needed:
            reasons = self.dropout_reasons() if why is None else why
            raise QuorumError(
                f"{what}: {len(answers)} of {len(self.names)} sites gave a usable answer, the "
                f"study needs {needed} ({reasons}); nothing was aggregated; "
                "resume the run when they are back"
            )

    def _send(
        self,
        request: Request,
        *,
        to: Collection[str] | None = None,
        timeout_s: float | None = None,
        expected: Shapes | None = None,
    ) -> dict[str, Answer]:
        self._reasons = {}
        to = request.roster if to is None else to
        signature = sign(self._key, request.signed_bytes())
        digest, packed = request.digest(), dataclasses.replace(request, signature=signature).pack()
        limit = self._plan.coordination.timeout_s if timeout_s is None else timeout_s
        self._audit.asks(request, to)
        replies = self._link.ask(dict.fromkeys(to, packed), timeout_s=limit)
        answers: dict[str, Answer] = {}
        outcomes: dict[str, str] = {}
        for site in to:
            outcomes[site] = "rejected" if replies.get(site) else "silence"
            try:
                answer = admit(
                    replies.get(site, b""),
                    site=site,
                    key=self._plan.site(site).key,
                    nonce=request.nonce,
                    request_digest=digest,
                )
                self._heads.take(site, request, answer)
                if answer.ok and expected is not None:
                    check_arrays(answer.arrays, expected)
                answers[site] = answer
                outcomes[site] = str(answer.header.status)
            except Rejected as rejection:
                self._dropped(site, str(rejection))
        self._heads.save()
        self._audit.got(request, outcomes)
        return answers

    def _prepare_request(self) -> Request:
        return self._request(query=Query.PREPARE, known=self._heads.known())

    def _request(
        self,
        *,
        query: Query,
        run: str | None = None,
        roster: tuple[str, ...] | None = None,
        **parts: Any,
    ) -> Request:
        return Request(
            query=query,
            study=self._plan.study_digest,
            plan=self._plan.digest(),
            run=self._run if run is None else run,
            roster=tuple(self.names) if roster is None else roster,
            nonce=secrets.token_hex(_NONCE_BYTES),
            **parts,
        )

    def _dropped(self, site: str, reason: str) -> None:
        self._reasons[site] = reason
        self._on_event({"event": "dropped", "site": site, "reason": reason})
