"""The coordinator's run: ask, admit, aggregate, learn, keep, round after round.

The run is a function of the plan and of the sites' answers: given the checkpoint of a round, the
next request is the same bytes whenever it is made, so an interrupted run resumes without asking
a site for anything new. Sites are named in the plan; an answer counts only if its signature
holds for that site's key. A round with fewer answers than the plan's minimum aggregates nothing.
"""

from __future__ import annotations

import hashlib
import math
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fedloom.common.errors import (
    BudgetExceededError,
    FedloomError,
    IncompleteError,
    NotApprovedError,
    QuorumError,
    RefusedError,
)
from fedloom.common.messages import Answer, Request
from fedloom.common.statistics import NoisyStatistics, statistic
from fedloom.privacy.plan import RoundQuery
from fedloom.server.admission import Rejected, admit, check_shapes
from fedloom.server.aggregation import total, weighted_mean
from fedloom.server.checkpoints import Checkpoint, Checkpoints
from fedloom.server.learners import Learner, State, build_learner
from fedloom.server.link import Link
from fedloom.server.metrics import Reporter
from fedloom.server.run_folder import RunFolder

__all__ = ["Event", "coordinate"]

Event = dict[str, Any]

_NONCE_BYTES = 16
_REFUSED: dict[str, tuple[type[FedloomError], str]] = {
    "budget": (BudgetExceededError, "its ledger has no room for this plan; see `fedloom budget show`"),
    "not-approved": (NotApprovedError, "its steward has not approved this very plan, or paused it"),
    "outside-plan": (RefusedError, "it holds another plan under this digest or roster"),
    "conflict": (RefusedError, "it answered another request under the same key"),
    "closed": (RefusedError, "the run is closed there; begin a new one"),
}


def coordinate(
    run_dir: Path, link: Link, *, on_event: Callable[[Event], None] | None = None
) -> None:
    """Runs, or resumes, the study of a run folder to its end.

    Args:
      run_dir: a folder made by `RunFolder.create`.
      link: reaches the sites.
      on_event: told of progress; events hold post-processing only.

    Raises:
      RefusedError: a site refuses the study before anything was spent.
      QuorumError: too few sites answered in time; the run can be resumed.
      IncompleteError: a site's ledger extract is missing; the run can be resumed.
    """
    _Run(RunFolder.open(run_dir), link, on_event or (lambda event: None)).to_the_end()


class _Run:
    """State of one run; see `coordinate`."""

    def __init__(self, folder: RunFolder, link: Link, on_event: Callable[[Event], None]) -> None:
        self._folder = folder
        self._link = link
        self._plan = folder.plan()
        self._name = str(folder.state()["run"])
        self._names = [site.name for site in self._plan.sites]
        self._checkpoints = Checkpoints(folder.checkpoints)
        self._learner: Learner = build_learner(self._plan)
        self._reporter = Reporter(folder, self._plan, on_event)
        self._on_event = on_event

    def to_the_end(self) -> None:
        if self._folder.done():
            return
        self._folder.update_state(state="running")
        self._on_event({"event": "start", "sites": self._names, "rounds": len(self._plan.rounds)})
        if not self._folder.generator_path.exists():
            self._describe()
            state, last = self._state()
            for asked in self._plan.rounds[last:]:
                state = self._training_round(asked, state)
            self._learner.publish(state).save(self._folder.generator_path)
        self._finish()
        self._checkpoints.clear()
        self._reporter.close()
        self._folder.mark_done()
        self._on_event({"event": "done"})

    def _state(self) -> tuple[State, int]:
        """Returns the learner's state and the last round in it, from a checkpoint if any."""
        checkpoint = self._checkpoints.newest()
        if checkpoint is not None:
            self._folder.keep_metrics_until(checkpoint.round)
            return State(arrays=checkpoint.arrays, meta=checkpoint.meta), checkpoint.round
        self._folder.keep_metrics_until(0)
        return self._statistics_round(self._plan.rounds[0]), 1

    def _statistics_round(self, asked: RoundQuery) -> State:
        plan = self._plan
        measured = statistic(plan.statistics["kind"], plan.encoding)
        answers = self._ask(asked, {}, {"sum": (measured.length,)})
        arrays = {site: answer.arrays for site, answer in answers.items()}
        std = plan.statistics["noise_multiplier"] * plan.statistics["l2_norm"]
        site_totals = {}
        for site, values in arrays.items():
            alone = NoisyStatistics(
                encoding=plan.encoding, kind=measured.kind, vector=values["sum"], noise_std=std
            )
            site_totals[site] = alone.total()
        for site in plan.sites:
            if site.records is not None:
                site_totals[site.name] = float(site.records)
        statistics = NoisyStatistics(
            encoding=plan.encoding,
            kind=measured.kind,
            vector=total(arrays)["sum"],
            noise_std=std * math.sqrt(len(arrays)),
            site_totals=site_totals,
        )
        self._folder.save_statistics(statistics)
        state = self._learner.start(statistics, self._seed(asked.round))
        self._keep(asked, state, sorted(arrays))
        return state

    def _training_round(self, asked: RoundQuery, state: State) -> State:
        answers = self._ask(
            asked, self._learner.request_arrays(state), self._learner.answer_shapes()
        )
        arrays = {site: answer.arrays for site, answer in answers.items()}
        sizes = self._sizes(sorted(arrays))
        if asked.query == "train":
            aggregate = weighted_mean(arrays, sizes)
        else:
            aggregate = total(arrays)
        batch = max(1.0, asked.params["sample_rate"] * sum(sizes.values()))
        state = self._learner.absorb(state, aggregate, batch, self._seed(asked.round))
        self._keep(asked, state, sorted(arrays))
        return state

    def _sizes(self, sites: list[str]) -> dict[str, float]:
        """Noisy or declared numbers of records; a site without one counts as the average."""
        known = self._folder.statistics().site_totals
        average = sum(known.values()) / len(known)
        return {site: known.get(site, average) for site in sites}

    def _keep(self, asked: RoundQuery, state: State, answered: list[str]) -> None:
        self._checkpoints.save(
            Checkpoint(round=asked.round, arrays=state.arrays, meta=state.meta)
        )
        self._reporter.round(asked, answered, lambda: self._learner.publish(state), state.meta)

    def _seed(self, round_number: int) -> int:
        """A public seed for post-processing: the same when a round is done again."""
        text = f"{self._plan.digest()}/{self._name}/{round_number}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")

    def _describe(self) -> None:
        """Has every site check and reserve the plan before anything is spent anywhere."""
        answers = self._send(self._request(query="describe"))
        for site, answer in answers.items():
            if answer.ok:
                self._folder.update_site(site, versions=answer.header.get("versions", {}))
        refusals = {site: answer for site, answer in answers.items() if not answer.ok}
        if refusals:
            self._release_reservations()
            site, answer = next(iter(sorted(refusals.items())))
            status = str(answer.header.get("status"))
            kind, reason = _REFUSED.get(status, (RefusedError, f"it answered {status!r}"))
            raise kind(f"site {site!r} refuses the study: {reason}; nothing was spent in this run")
        self._need(answers, "describe")

    def _release_reservations(self) -> None:
        if self._checkpoints.newest() is None and not self._folder.metrics():
            self._send(self._request(query="describe", finish=True))

    def _finish(self) -> None:
        """Closes the run at the sites and collects their signed ledger extracts."""
        missing = [name for name in self._names if not self._folder.has_extract(name)]
        if missing:
            for site, answer in self._send(self._request(query="describe", finish=True)).items():
                if answer.ok and "extract" in answer.header:
                    key = self._plan.site(site).key or ""
                    self._folder.save_extract(site, key, answer.header["extract"])
                    self._folder.update_site(site, head=answer.header["head"])
        missing = [name for name in self._took_part() if not self._folder.has_extract(name)]
        if missing:
            raise IncompleteError(
                f"the generator is made, but {', '.join(missing)} did not send the ledger "
                "extract that a release needs; resume the run when they are back"
            )

    def _took_part(self) -> list[str]:
        took_part: set[str] = set()
        for line in self._folder.metrics():
            took_part.update(line["sites"])
        return sorted(took_part)

    def _ask(
        self, asked: RoundQuery, arrays: dict[str, Any], shapes: dict[str, tuple[int, ...]]
    ) -> dict[str, Answer]:
        """Asks all sites for one round and returns the answers that may be used."""
        request = self._request(
            query=asked.query, round=asked.round, params=asked.params, arrays=arrays
        )
        answers = {}
        for site, answer in self._send(request).items():
            if not answer.ok:
                self._dropped(site, f"it refused with {answer.header.get('status')!r}")
                continue
            try:
                check_shapes(answer.arrays, shapes)
            except Rejected as rejection:
                self._dropped(site, str(rejection))
                continue
            answers[site] = answer
        self._need(answers, f"round {asked.round}")
        return answers

    def _send(self, request: Request) -> dict[str, Answer]:
        replies = self._link.ask(
            {name: request.pack() for name in self._names},
            timeout_s=float(self._plan.coordination["timeout_s"]),
        )
        answers = {}
        for site in self._names:
            try:
                answers[site] = admit(
                    replies.get(site, b""), site=site, request=request, plan=self._plan
                )
            except Rejected as rejection:
                self._dropped(site, str(rejection))
        return answers

    def _request(self, *, query: str, finish: bool = False, **parts: Any) -> Request:
        return Request(
            query=query,
            study=self._plan.study_digest,
            plan=self._plan.digest(),
            run=self._name,
            roster=tuple(sorted(self._names)),
            nonce=secrets.token_hex(_NONCE_BYTES),
            finish=finish,
            **parts,
        )

    def _dropped(self, site: str, reason: str) -> None:
        self._on_event({"event": "dropped", "site": site, "reason": reason})

    def _need(self, answers: dict[str, Answer], what: str) -> None:
        needed = self._plan.coordination["min_sites"]
        if len(answers) < needed:
            raise QuorumError(
                f"{what}: {len(answers)} of {len(self._names)} sites gave a usable answer, the "
                f"study needs {needed}; nothing was aggregated; resume the run when they are back"
            )


