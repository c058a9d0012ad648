"""What a release is built from: the files of a finished run, read and held against each other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedloom.common.artifact import Artifact
from fedloom.common.errors import ConfigError, ReleaseError, VerificationError
from fedloom.common.marginals import NoisyMarginals
from fedloom.common.public_counts import PublicRecords
from fedloom.common.run_files import RunFiles
from fedloom.common.vocabulary import Stage
from fedloom.privacy.answers.opened import OpenedRound, answer_path
from fedloom.privacy.answers.opened_marginals import opened_statistics
from fedloom.privacy.handover import Handover, chained_keys, read_handovers
from fedloom.privacy.plan import Plan
from fedloom.privacy.release.earlier import Earlier, load_earlier

__all__ = ["FinishedRun"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedRun:
    """A run that is done.

    Attributes:
      path: its folder.
      plan: the plan that was carried out.
      state: what `run.json` holds.
      statistics: the noisy statistics, from the sums over sites.
      opened: the opened sums that a release holds, by round.
      generator: the generator.
      extracts: each site's signed ledger extract.
      metrics: post-processing, one mapping a round.
      public: rows of the plan's public table; None in a plan without one.
      earlier: what the earlier release says that the plan names; None in a plan without one.
      evaluation: what the histograms of held-back units say; None in a plan without them.
    """

    path: Path
    plan: Plan
    state: dict[str, Any]
    statistics: NoisyMarginals
    opened: dict[int, OpenedRound]
    generator: Artifact
    extracts: dict[str, dict[str, Any]]
    metrics: list[dict[str, Any]]
    public: PublicRecords | None
    earlier: Earlier | None
    evaluation: dict[str, Any] | None

    @property
    def name(self) -> str:
        """The run's name, under which the ledgers hold it."""
        return str(self.state["run"])

    def handovers(self, key: str) -> tuple[Handover, ...]:
        """Returns how the coordinator's keys have handed on one to the next, as known by now.

        Args:
          key: that signs the release; what is known of other keys alone is left out.
        """
        path = self.state.get("handovers")
        known = () if path is None else read_handovers(Path(path))
        return known if key in chained_keys(known) else ()

    @classmethod
    def load(cls, path: Path) -> FinishedRun:
        """Reads a run folder.

        Raises:
          ConfigError: it holds no run, or one that is not done.
          VerificationError: its plan is not the one that the run was started with.
        """
        files = RunFiles(path)
        state = files.state()
        if not files.done():
            raise ConfigError(
                f"{path}: the run is not done (its state is {state.get('state')!r}); finish it by "
                "the command that began it, such as `fedloom simulate --resume`, then build the "
                "release"
            )
        plan = Plan.load(files.plan_path)
        if plan.digest() != state.get("plan"):
            raise VerificationError(
                f"{files.plan_path} is not the plan that the run was started with; restore it"
            )
        generator = files.read_generator(learns_schema=plan.learns_schema)
        extracts = files.extracts(plan.site_names)
        if not extracts:
            raise ConfigError(f"{path} holds no ledger extract; resume the run to fetch them")
        opened = _opened(path, plan)
        public, earlier = _public(files, plan)
        return cls(
            path=path,
            plan=plan,
            state=state,
            statistics=opened_statistics(
                plan,
                [
                    opened[asked.round]
                    for asked in plan.rounds
                    if asked.phase.stage is Stage.STATISTICS
                ],
            ),
            opened=opened,
            generator=generator,
            extracts=extracts,
            metrics=files.metrics(),
            public=public,
            earlier=earlier,
            evaluation=None if plan.evaluation is None else files.evaluation(),
        )


def _public(files: RunFiles, plan: Plan) -> tuple[PublicRecords | None, Earlier | None]:
    named = plan.public
    if named is None:
        return None, None
    rows = None if named.same_records else PublicRecords.load(files.public_path)
    return rows, None if named.release is None else load_earlier(files.earlier_path, named)


def _opened(path: Path, plan: Plan) -> dict[int, OpenedRound]:
    try:
        return {
            asked.round: OpenedRound.load(path / answer_path(asked.round))
            for asked in plan.rounds
            if asked.published
        }
    except ReleaseError as error:
        raise ConfigError(
            f"{path / 'answers'}: {error}; restore the run folder from a backup: what the sites "
            "answered cannot be had again once a run is done"
        ) from error
