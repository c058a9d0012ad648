"""One request to all sites, and which of their answers count.

Requests are signed with the coordinator's key, which the plan names, or no site would answer.
Sites are named in the plan too; an answer counts only if its signature holds for that site's key
and it answers this very message. The head of a site's ledger travels with every answer and is kept
in the run folder: a ledger that goes back behind a head seen earlier has lost entries, and with
them what was spent.
"""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Callable, Collection, Sequence
from typing import Any

from fedloom.common.errors import ConfigError, LedgerError, QuorumError
from fedloom.common.messages import Answer, LedgerHead, Request
from fedloom.common.vocabulary import Query
from fedloom.privacy.keys import public_key_hex, sign
from fedloom.privacy.ledger import verify_extract
from fedloom.privacy.plan import RoundQuery
from fedloom.server.admission import Rejected, Shapes, admit, check_arrays
from fedloom.server.link import Link
from fedloom.server.run_folder import RunFolder

__all__ = ["Sites"]

_NONCE_BYTES = 16
_READY_S = 60.0


class Sites:
    """The sites of one run, reached through a link."""

    def __init__(
        self, folder: RunFolder, link: Link, on_event: Callable[[dict[str, Any]], None]
    ) -> None:
        """Takes names, keys and heads from the run folder.

        Raises:
          ConfigError: the folder's key is not the one that the plan names.
        """
        self._folder = folder
        self._link = link
        self._on_event = on_event
        self._plan = folder.plan()
        self._key = folder.key()
        if public_key_hex(self._key) != self._plan.coordinator_key:
            raise ConfigError(
                f"{folder.key_path} is not the key of the coordinator that the plan names, so no "
                "site would answer; restore the key file with which the run was begun"
            )
        state = folder.state()
        self._run = str(state["run"])
        self._heads = {
            name: LedgerHead(seq=known["head"]["seq"], hash=known["head"]["hash"])
            for name, known in state["sites"].items()
            if "head" in known
        }
        self._reasons: dict[str, str] = {}
        self.names = sorted(site.name for site in self._plan.sites)
        self.ready: set[str] = set()

    def prepare(self) -> dict[str, Answer]:
        """Has every site check and reserve the plan; returns answers, refusals included.

        Raises:
          LedgerError: a site's ledger is older than the head that the run folder holds.
        """
        answers = self._send(self._request(query=Query.PREPARE))
        self.ready = {site for site, answer in answers.items() if answer.ok}
        for site, reason in self._reasons.items():
            if reason.startswith(_OLDER):
                raise LedgerError(f"site {site!r}: {reason}")
        return answers

    def finish(self, run: str | None = None) -> dict[str, list[dict[str, Any]]]:
        """Closes a run at the sites, this one if none is named; returns the extracts that hold."""
        extracts = {}
        run = self._run if run is None else run
        request = self._request(query=Query.FINISH, run=run)
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
        """Finds out which sites would answer now; waits for them no longer than a minute."""
        timeout_s = min(_READY_S, self._plan.coordination.timeout_s)
        answers = self._send(self._request(query=Query.PREPARE), timeout_s=timeout_s)
        self.ready = {site for site, answer in answers.items() if answer.ok}

    def request(
        self, asked: RoundQuery, arrays: dict[str, Any], *, rosters: Sequence[Sequence[str]]
    ) -> Request:
        """Makes the request for one round.

        Args:
          asked: the round.
          arrays: what the query takes.
          rosters: of every attempt so far, each sorted; the last is of the sites that are asked.
        """
        *void, roster = map(tuple, rosters)
        return self._request(
            query=asked.query,
            round=asked.round,
            void=tuple(void),
            params=asked.params,
            arrays=arrays,
            roster=roster,
        )

    def ask(self, request: Request, expected: Shapes) -> dict[str, Answer]:
        """Sends a request, each time with a nonce of its own, and returns the usable answers.

        Args:
          request: as `request` makes it.
          expected: shapes and types of an answer's arrays.
        """
        request = dataclasses.replace(request, nonce=secrets.token_hex(_NONCE_BYTES))
        answers = {}
        for site, answer in self._send(request).items():
            if not answer.ok:
                self._dropped(site, f"it refused with '{answer.header.status}'")
                continue
            try:
                check_arrays(answer.arrays, expected)
            except Rejected as rejection:
                self._dropped(site, str(rejection))
                continue
            answers[site] = answer
        return answers

    def dropout_reasons(self) -> str:
        """Says why sites dropped out of the last message."""
        return "; ".join(f"{site}: {why}" for site, why in sorted(self._reasons.items()))

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

    def _send(self, request: Request, *, timeout_s: float | None = None) -> dict[str, Answer]:
        self._reasons = {}
        signature = sign(self._key, request.signed_bytes())
        digest, packed = request.digest(), dataclasses.replace(request, signature=signature).pack()
        limit = self._plan.coordination.timeout_s if timeout_s is None else timeout_s
        replies = self._link.ask(dict.fromkeys(request.roster, packed), timeout_s=limit)
        answers = {}
        for site in request.roster:
            try:
                answer = admit(
                    replies.get(site, b""),
                    site=site,
                    key=self._plan.site(site).key,
                    nonce=request.nonce,
                    request_digest=digest,
                )
                self._follow(site, answer.header.head)
                answers[site] = answer
            except Rejected as rejection:
                self._dropped(site, str(rejection))
        self._folder.keep_heads(self._heads)
        return answers

    def _follow(self, site: str, head: LedgerHead) -> None:
        seen = self._heads.get(site, head)
        if head.seq < seen.seq or (head.seq == seen.seq and head.hash != seen.hash):
            raise Rejected(
                f"{_OLDER} entry {seen.seq} that this run has seen: it was cut or replaced by an "
                "older copy; restore the site's whole home from a backup that holds that entry, "
                "and resume"
            )
        self._heads[site] = head

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


_OLDER = "its ledger does not hold"
