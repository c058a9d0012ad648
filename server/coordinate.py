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
    RefusedError,
)
from fedloom.common.messages import Answer
from fedloom.common.statistics import NoisyStatistics, statistic
from fedloom.privacy.plan import RoundQuery
from fedloom.server.aggregation import total, weighted_mean
from fedloom.server.asking import Sites
from fedloom.server.checkpoints import Checkpoint, Checkpoints
from fedloom.server.learners import Learner, State, build_learner
from fedloom.server.link import Link
from fedloom.server.metrics import Reporter
from fedloom.server.run_folder import RunFolder

__all__ = ["Event", "coordinate"]

Event = dict[str, Any]

_RUN_BYTES = 8
_REFUSED: dict[str, tuple[type[FedloomError], str]] = {
    "budget": (
        BudgetExceededError,
        "its ledger has no room for this plan; see `fedloom budget show` there, and ask for a "
        "smaller epsilon",
    ),
    "not-approved": (
        NotApprovedError,
        "its steward has not approved this very plan, or has revoked or paused it; there: "
        "`fedloom site approve {plan} --home HOME`, then resume this run",
    ),
    "outside-plan": (RefusedError, "it holds another study under this plan's digest"),
    "closed": (RefusedError, "the run is closed there; begin a new one in another folder"),
    "unavailable": (
        IncompleteError,
        "it cannot answer now; its steward finds the reason in the home's private.log; resume "
        "the run when that is mended",
    ),
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
        self._plan = folder.plan()
        self._name = str(folder.state()["run"])
        self._sites = Sites(folder, link, on_event)
        self._checkpoints = Checkpoints(folder.checkpoints)
        self._learner: Learner = build_learner(self._plan)
        self._on_event = on_event
        self._site_totals: dict[str, float] | None = None

    def to_the_end(self) -> None:
        if self._folder.done():
            return
        names, rounds = self._sites.names, self._plan.rounds
        self._folder.update_state(state="running")
        self._on_event({"event": "start", "sites": names, "rounds": len(rounds)})
        if not self._folder.generator_path.exists():
            self._describe()
            self._folder.save_generator(self._learner.publish(self._train()))
        self._finish()
        self._checkpoints.clear()
        self._folder.mark_done()
        self._on_event({"event": "done"})

    def _train(self) -> State:
        """Carries out all rounds that are not in a checkpoint yet."""
        checkpoint = self._checkpoints.newest()
        last = 0 if checkpoint is None else checkpoint.round
        self._folder.keep_metrics_until(last)
        reporter = Reporter(self._folder, self._plan, self._on_event)
        try:
            if checkpoint is None:
                state, last = self._statistics_round(self._plan.rounds[0], reporter), 1
            else:
                state = State(arrays=checkpoint.arrays, meta=checkpoint.meta)
            for asked in self._plan.rounds[last:]:
                state = self._training_round(asked, state, reporter)
        finally:
            reporter.close()
        return state

    def _statistics_round(self, asked: RoundQuery, reporter: Reporter) -> State:
        plan = self._plan
        measured = statistic(plan.statistics["kind"], plan.encoding)
        answers = self._sites.ask(asked, {}, {"sum": ((measured.length,), "float64")})
        arrays = {site: answer.arrays for site, answer in answers.items()}
        std = plan.statistics["noise_multiplier"] * plan.statistics["l2_norm"]
        site_totals = {}
        for site, values in arrays.items():
            alone = NoisyStatistics(
                encoding=plan.encoding, kind=measured.kind, vector=values["sum"], noise_std=std
            )
            site_totals[site] = alone.total()
        for entry in plan.sites:
            if entry.records is not None:
                site_totals[entry.name] = float(entry.records)
        statistics = NoisyStatistics(
            encoding=plan.encoding,
            kind=measured.kind,
            vector=total(arrays)["sum"],
            noise_std=std * math.sqrt(len(arrays)),
            site_totals=site_totals,
        )
        self._folder.save_statistics(statistics)
        state = self._learner.start(statistics, self._seed(asked.round))
        self._keep(asked, state, answers, reporter)
        return state

    def _training_round(self, asked: RoundQuery, state: State, reporter: Reporter) -> State:
        shapes = self._learner.answer_shapes()
        expected = {name: (shape, "float32") for name, shape in shapes.items()}
        answers = self._sites.ask(asked, self._learner.request_arrays(state), expected)
        arrays = {site: answer.arrays for site, answer in answers.items()}
        sizes = self._sizes(sorted(arrays))
        if asked.query == "train":
            aggregate = weighted_mean(arrays, sizes)
        else:
            aggregate = total(arrays)
        batch = max(1.0, asked.params["sample_rate"] * sum(sizes.values()))
        state = self._learner.absorb(state, aggregate, batch, self._seed(asked.round))
        self._keep(asked, state, answers, reporter)
        return state

    def _sizes(self, sites: list[str]) -> dict[str, float]:
        """Noisy or declared numbers of records; a site without one counts as the average."""
        if self._site_totals is None:
            self._site_totals = dict(self._folder.statistics().site_totals)
        known = self._site_totals
        average = sum(known.values()) / len(known)
        return {site: known.get(site, average) for site in sites}

    def _keep(
        self, asked: RoundQuery, state: State, answers: dict[str, Answer], reporter: Reporter
    ) -> None:
        """Reports a round, then saves its checkpoint: a round that is saved was reported."""
        reporter.round(asked, sorted(answers), lambda: self._learner.publish(state), state.meta)
        self._checkpoints.save(Checkpoint(round=asked.round, arrays=state.arrays, meta=state.meta))

    def _seed(self, round_number: int) -> int:
        """A public seed for post-processing: the same when a round is done again."""
        text = f"{self._plan.digest()}/{self._name}/{round_number}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")

    def _describe(self) -> None:
        """Has every site check and reserve the plan before anything is spent anywhere."""
        answers = self._sites.describe()
        self._folder.keep_versions(
            {site: answer.header.get("versions", {}) for site, answer in answers.items()}
        )
        refusals = {site: answer for site, answer in answers.items() if not answer.ok}
        if refusals:
            spent = self._give_back_reservations()
            site, answer = next(iter(sorted(refusals.items())))
            status = str(answer.header.get("status"))
            kind, reason = _REFUSED.get(status, (RefusedError, f"it answered {status!r}"))
            reason = reason.format(plan=self._folder.plan_path)
            raise kind(f"site {site!r} refuses the study: {reason}; {spent}")
        self._sites.need(answers, "describe")

    def _give_back_reservations(self) -> str:
        """Closes a run of which nothing was asked yet; a new attempt goes by another name."""
        if self._checkpoints.newest() is not None or self._folder.metrics():
            return "what earlier rounds spent stays spent, nothing more was"
        self._sites.finish()
        self._folder.update_state(run=secrets.token_hex(_RUN_BYTES))
        return "nothing was spent"

    def _finish(self) -> None:
        """Closes the run at the sites and collects their signed ledger extracts."""
        if any(not self._folder.has_extract(name) for name in self._sites.names):
            for site, extract in self._sites.finish().items():
                self._folder.save_extract(site, self._plan.site(site).key or "", extract)
        took_part = {site for line in self._folder.metrics() for site in line["sites"]}
        missing = sorted(name for name in took_part if not self._folder.has_extract(name))
        if missing:
            raise IncompleteError(
                f"the generator is made, but {', '.join(missing)} did not send the ledger "
                "extract that a release needs; resume the run when they are back"
            )
