"""The coordinator's run: ask, admit, aggregate, learn, keep, round after round.

The run is a function of the plan and of the sites' answers: given the checkpoint of a round, the
next request is the same bytes whenever it is made, so an interrupted run resumes without asking
a site for anything new. Sites are named in the plan; an answer counts only if its signature
holds for that site's key. A round with fewer answers than the plan's minimum aggregates nothing.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from fedloom.common.audit_log import AuditLog
from fedloom.common.errors import (
    BudgetExceededError,
    FedloomError,
    IncompleteError,
    LedgerError,
    NotApprovedError,
    RefusedError,
)
from fedloom.common.marginals import NoisyMarginals
from fedloom.common.parts import load_part
from fedloom.common.public_counts import PublicRecords
from fedloom.common.records import Statistics
from fedloom.common.vocabulary import Query, Stage, Status
from fedloom.privacy.answers.opened import OpenedRound
from fedloom.privacy.answers.opened_marginals import opened_statistics
from fedloom.privacy.plan import RoundQuery
from fedloom.server.aggregation import unflatten, weighted_mean
from fedloom.server.binning import Design
from fedloom.server.checkpoints import Checkpoint, Checkpoints
from fedloom.server.evaluation import evaluation_request, evaluation_result
from fedloom.server.learned_schema import LearnedSchema
from fedloom.server.learners import Learner, State, build_learner
from fedloom.server.learners.public_prior import with_public
from fedloom.server.learning import absorbed, round_seed, site_sizes
from fedloom.server.link import Link
from fedloom.server.metrics import Reporter
from fedloom.server.run_folder import RunFolder
from fedloom.server.sites import Sites
from fedloom.server.sums import Sums

__all__ = ["Event", "coordinate"]

Event = dict[str, Any]

_RUN_BYTES = 8
_REFUSED: dict[Status, tuple[type[FedloomError], str]] = {
    Status.BUDGET: (
        BudgetExceededError,
        "its ledger has no room for this plan; see `fedloom budget show` there, and ask for a "
        "smaller epsilon",
    ),
    Status.NOT_APPROVED: (
        NotApprovedError,
        "its steward has not approved this very plan, or has revoked or paused it; there: "
        "`fedloom site approve {plan} --home HOME`, then resume this run",
    ),
    Status.USED_UP: (
        NotApprovedError,
        "its steward's approval was for {runs} run(s), which are used; a further run costs as much "
        "again and needs a new approval there: `fedloom site approve {plan} --home HOME`, then "
        "resume this run",
    ),
    Status.OUTSIDE_PLAN: (RefusedError, "it holds another study under this plan's digest"),
    Status.CLOSED: (RefusedError, "the run is closed there; begin a new one in another folder"),
    Status.TURNED_BACK: (
        LedgerError,
        "its ledger is older than one of its answers: a backup was put back, or a copy of the home "
        "answers. Its steward finds how to go on in the steward's page (Restore)",
    ),
    Status.OTHER_VERSION: (
        RefusedError,
        "it runs fedloom {version}, and fedloom {made_by} resolved the plan; only that minor "
        "version runs it. Have it installed there for this run, or resolve the study again with "
        "the version that all institutions have, and have the new plan approved",
    ),
    Status.UNAVAILABLE: (
        IncompleteError,
        "it cannot answer now; its steward finds the reason in the home's private.log; resume "
        "the run when that is mended",
    ),
}


def coordinate(
    run_dir: Path,
    link: Link,
    *,
    on_event: Callable[[Event], None] | None = None,
    audit: AuditLog | None = None,
) -> None:
    """Runs, or resumes, the study of a run folder to its end.

    Args:
      run_dir: a folder made by `RunFolder.create`.
      link: reaches the sites.
      on_event: told of progress; events hold post-processing only.
      audit: where every message is noted; None for a simulation.

    Raises:
      RefusedError: a site refuses the study before anything was spent.
      QuorumError: too few sites answered in time; the run can be resumed.
      IncompleteError: a site's ledger extract is missing; the run can be resumed.
    """
    _Run(RunFolder.open(run_dir), link, on_event or (lambda event: None), audit).run()


class _Run:
    """State of one run; see `coordinate`."""

    def __init__(
        self,
        folder: RunFolder,
        link: Link,
        on_event: Callable[[Event], None],
        audit: AuditLog | None,
    ) -> None:
        self._folder = folder
        self._plan = folder.plan()
        self._name = str(folder.state()["run"])
        self._sites = Sites(folder, link, on_event, audit)
        self._checkpoints = Checkpoints(folder.checkpoints)
        self._on_event = on_event
        self._sums = Sums(folder, self._sites, on_event)

    def run(self) -> None:
        if self._folder.done():
            return
        if self._plan.kind.needed_at_coordinator is not None:
            load_part(self._plan.kind.needed_at_coordinator)(self._plan.coder)
        names, rounds = self._sites.names, self._plan.rounds
        self._folder.update_state(state="running")
        self._on_event({"event": "start", "sites": names, "rounds": len(rounds)})
        if self._plan.learns_schema:
            self._learn_schema()
        elif not self._folder.generator_path.exists():
            self._prepare()
            self._folder.save_generator(self._learner.export(self._train()))
        self._evaluate()
        self._finish()
        self._checkpoints.clear()
        self._folder.mark_done()
        self._on_event({"event": "done"})

    @cached_property
    def _learner(self) -> Learner:
        return build_learner(self._plan)

    def _learn_schema(self) -> None:
        """Asks for the one sum of a study of kind "schema", and completes the schema."""
        if LearnedSchema.exists(self._folder.path):
            return
        self._prepare()
        asked, plan = self._plan.rounds[0], self._plan
        opened = self._sums.ask(asked, {}, plan.discovery.length)
        self._folder.keep_metrics_until(0)
        reporter = Reporter(self._folder, plan, self._on_event)
        reporter.round(asked, list(opened.sites), None, {})
        reporter.close()
        learned = LearnedSchema.learn(
            plan, opened.values(), opened.stds[0], runs=self._folder.priced_runs()
        )
        learned.save(self._folder.path)

    def _train(self) -> State:
        """Carries out all rounds up to the generator that are not in a checkpoint yet."""
        checkpoint = self._checkpoints.newest()
        last = 0 if checkpoint is None else checkpoint.round
        self._folder.keep_metrics_until(last)
        reporter = Reporter(self._folder, self._plan, self._on_event)
        try:
            if checkpoint is None:
                state = self._statistics(reporter)
                last = len(self._plan.statistics)
            else:
                state = State(arrays=checkpoint.arrays, meta=checkpoint.meta)
            for asked in self._plan.rounds[last:]:
                if asked.phase.stage is Stage.TRAINING:
                    state = self._training_round(asked, state, reporter)
        finally:
            reporter.close()
        return state

    def _statistics(self, reporter: Reporter) -> State:
        """Asks the statistics one by one, each designed from the sums that came before."""
        rounds = [a for a in self._plan.rounds if a.phase.stage is Stage.STATISTICS]
        opened: list[OpenedRound] = []
        for asked in rounds:
            if opened:
                reporter.round(rounds[len(opened) - 1], list(opened[-1].sites), None, {})
            design = self._design(asked, opened)
            if design.told:
                self._folder.update_state(**design.told)
                self._on_event({"event": "design", **design.told})
            length = asked.phase.answer_length(self._plan, design.arrays)
            opened.append(self._sums.ask(asked, design.arrays, length))
        statistics = opened_statistics(self._plan, opened)
        if self._public is not None:
            statistics = with_public(statistics, self._public)
        state = self._learner.initialise(statistics, self._seed(rounds[-1].round))
        self._keep(rounds[-1], state, opened[-1].sites, reporter)
        return state

    def _design(self, asked: RoundQuery, opened: Sequence[OpenedRound]) -> Design:
        # Only a tree's study may name a public table.
        public = {} if self._public is None else {"public": self._public}
        design: Design = load_part(self._plan.kind.design)(self._plan, asked, opened, **public)
        return design

    @cached_property
    def _public(self) -> PublicRecords | NoisyMarginals | None:
        return self._folder.public_prior()

    def _training_round(self, asked: RoundQuery, state: State, reporter: Reporter) -> State:
        shapes = self._learner.answer_shapes()
        arrays = self._learner.request_arrays(state)
        if asked.query is Query.TRAIN:
            expected = {name: (shape, "float32") for name, shape in shapes.items()}
            _, answers = self._sums.collect(asked, arrays, expected)
            roster = sorted(answers)
            weights = {site: answer.arrays for site, answer in answers.items()}
            aggregate = weighted_mean(weights, self._sizes(roster))
        else:
            length = sum(math.prod(shape) for shape in shapes.values())
            opened = self._sums.ask(asked, arrays, length)
            roster, aggregate = list(opened.sites), unflatten(opened.values(), shapes)
        sizes, seed = self._sizes(roster), self._seed(asked.round)
        state = absorbed(self._learner, state, asked, aggregate, sizes, seed)
        self._keep(asked, state, roster, reporter)
        return state

    def _evaluate(self) -> None:
        """Has the generator judged on held-back units, if the plan says so."""
        rounds = [a for a in self._plan.rounds if a.phase.stage is Stage.EVALUATION]
        phase = self._plan.evaluation
        if phase is None or self._folder.has_evaluation():
            return
        asked, artifact = rounds[0], self._folder.generator()
        measured = self._plan.schema.kind.make_evaluation(self._plan.coder)
        seed = self._seed(asked.round)
        arrays = evaluation_request(artifact, measured, seed=seed)
        opened = self._sums.ask(asked, arrays, phase.length)
        record = evaluation_result(
            artifact,
            measured,
            arrays,
            opened.values(),
            opened.stds,
            hold_back=phase.hold_back,
            seed=seed,
        )
        reporter = Reporter(self._folder, self._plan, self._on_event)
        self._folder.keep_metrics_until(asked.round - 1)
        reporter.round(asked, list(opened.sites), None, {})
        reporter.close()
        self._folder.save_evaluation(record)

    def _sizes(self, sites: list[str]) -> dict[str, float]:
        return site_sizes(self._plan, self._folder_statistics, sites)

    @cached_property
    def _folder_statistics(self) -> Statistics:
        statistics: Statistics = self._folder.statistics()
        return statistics

    def _keep(
        self, asked: RoundQuery, state: State, sites: Sequence[str], reporter: Reporter
    ) -> None:
        """Reports a round, then saves its checkpoint: a round that is saved was reported."""
        reporter.round(asked, sorted(sites), lambda: self._learner.export(state), state.meta)
        self._checkpoints.save(Checkpoint(round=asked.round, arrays=state.arrays, meta=state.meta))

    def _seed(self, round_number: int) -> int:
        return round_seed(self._plan, self._name, round_number)

    def _prepare(self) -> None:
        """Has every site check and reserve the plan before anything is spent anywhere."""
        answers = self._sites.prepare()
        given_up = self._folder.state().get("given_up", [])
        if given_up and not all(answer.ok for answer in answers.values()):
            # A message of such a run that came late, or was sent again, may hold what is refused.
            for run in given_up:
                self._sites.finish(run)
            answers = self._sites.prepare()
        prepared = {
            site: answer.header.prepared
            for site, answer in answers.items()
            if answer.header.prepared is not None
        }
        self._folder.keep_versions({site: facts.versions for site, facts in prepared.items()})
        self._folder.keep_runs({site: facts.runs for site, facts in prepared.items()})
        refusals = {site: answer for site, answer in answers.items() if not answer.ok}
        if refusals:
            spent = self._give_back_reservations()
            site, answer = next(iter(sorted(refusals.items())))
            status = answer.header.status
            kind, reason = _REFUSED.get(status, (RefusedError, f"it answered '{status}'"))
            reason = reason.format(
                plan=self._folder.plan_path,
                runs=answer.header.runs,
                version=answer.header.version,
                made_by=self._plan.fedloom,
            )
            raise kind(f"site {site!r} refuses the study: {reason}; {spent}")
        self._sites.require_quorum(answers, "prepare")

    def _give_back_reservations(self) -> str:
        """Closes a run of which nothing was asked yet; a new attempt goes by another name."""
        state = self._folder.state()
        if state.get("attempts") is not None:
            return "what earlier rounds spent stays spent, nothing more was"
        self._sites.finish()
        self._folder.update_state(
            run=secrets.token_hex(_RUN_BYTES), given_up=[*state.get("given_up", []), state["run"]]
        )
        return "nothing was spent"

    def _finish(self) -> None:
        """Closes the run at the sites and collects their signed ledger extracts."""
        if any(not self._folder.has_extract(name) for name in self._sites.names):
            for site, extract in self._sites.finish().items():
                self._folder.save_extract(site, self._plan.site(site).key or "", extract)
        needed = {site for line in self._folder.metrics() for site in line["sites"]}
        if self._plan.colluding is None:  # a ledger that is left out could hide what was answered
            needed |= self._sums.asked()
        missing = sorted(name for name in needed if not self._folder.has_extract(name))
        if missing:
            raise IncompleteError(
                f"the generator is made, but {', '.join(missing)} did not send the ledger "
                "extract that a release needs; resume the run when they are back"
            )
