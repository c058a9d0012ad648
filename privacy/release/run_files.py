"""What a release is built from: the files of a finished run, read and held against each other."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedloom.common.artifact import Artifact
from fedloom.common.errors import ConfigError, ReleaseError, VerificationError
from fedloom.common.marginals import NoisyMarginals
from fedloom.common.vocabulary import Stage
from fedloom.privacy.answers.opened import OpenedRound, answer_path
from fedloom.privacy.answers.opened_marginals import opened_statistics
from fedloom.privacy.plan import Plan

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
    evaluation: dict[str, Any] | None

    @property
    def name(self) -> str:
        """The run's name, under which the ledgers hold it."""
        return str(self.state["run"])

    @classmethod
    def load(cls, path: Path) -> FinishedRun:
        """Reads a run folder.

        Raises:
          ConfigError: it holds no run, or one that is not done.
          VerificationError: its plan is not the one that the run was started with.
        """
        state = _json(path / "run.json", f"{path} holds no run: it has no readable run.json")
        if state.get("state") != "done":
            raise ConfigError(
                f"{path}: the run is not done (its state is {state.get('state')!r}); finish it by "
                "the command that began it, such as `fedloom simulate --resume`, then build the "
                "release"
            )
        plan = Plan.load(path / "plan.json")
        if plan.digest() != state.get("plan"):
            raise VerificationError(
                f"{path / 'plan.json'} is not the plan that the run was started with; restore it"
            )
        if plan.learns_schema:
            raise ConfigError(
                f"{path}: the run completed a schema, {path / 'schema.toml'}, and made no records "
                "to release; run a study of another kind on that schema"
            )
        names = {site.name for site in plan.sites}
        extracts = {
            file.stem: _json(file, f"{file} cannot be read; resume the run to fetch it again")
            for file in sorted((path / "extracts").glob("*.json"))
            if file.stem in names
        }
        if not extracts:
            raise ConfigError(f"{path} holds no ledger extract; resume the run to fetch them")
        opened = _opened(path, plan)
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
            generator=Artifact.load(path / "generator"),
            extracts=extracts,
            metrics=_metrics(path / "metrics.jsonl"),
            evaluation=_evaluation(path, plan),
        )


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


def _json(path: Path, message: str) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(message) from error
    if not isinstance(value, dict):
        raise ConfigError(message)
    return value


def _evaluation(path: Path, plan: Plan) -> dict[str, Any] | None:
    if plan.evaluation is None:
        return None
    return _json(
        path / "evaluation.json",
        f"{path} holds no evaluation.json, which its plan asks for; resume the run",
    )


def _metrics(path: Path) -> list[dict[str, Any]]:
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    metrics = []
    for line in lines:
        try:
            metrics.append(json.loads(line))
        except ValueError as error:
            raise ConfigError(f"{path} holds a line that is no JSON; remove that line") from error
    return metrics
