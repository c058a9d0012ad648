"""The kinds of phase, one entry each, and how a plan's list of them is read.

A new query is a phase here, a mechanism in `fedloom.privacy.mechanisms`, its computation in
`fedloom.client.queries`, and a model that asks it: docs/extending.md walks through one.
"""

from __future__ import annotations

from typing import Any

from fedloom.common.errors import StudyError
from fedloom.common.models.registry import ModelSettings
from fedloom.privacy.phases.evaluation import EvaluationPhase
from fedloom.privacy.phases.phase import Draft, Mechanism, Phase, phase_event
from fedloom.privacy.phases.statistic import StatisticPhase
from fedloom.privacy.phases.training import TrainingPhase

__all__ = [
    "PHASES",
    "Draft",
    "EvaluationPhase",
    "Mechanism",
    "Phase",
    "StatisticPhase",
    "TrainingPhase",
    "phase_event",
    "phase_from_plain",
]

PHASES: dict[str, type[Any]] = {
    kind.tag: kind for kind in (StatisticPhase, TrainingPhase, EvaluationPhase)
}


def phase_from_plain(value: Any, model: ModelSettings) -> Phase:
    """Reads a phase of a plan.

    Args:
      value: what its `to_plain` returned.
      model: the plan's model, on whose kind the settings of training rounds depend.

    Raises:
      StudyError: the kind of phase is unknown, or a value does not fit.
    """
    table = dict(value) if isinstance(value, dict) else {}
    kind = PHASES.get(str(table.pop("phase", None)))
    if kind is None:
        raise StudyError(f"a phase of the plan must be one of {', '.join(PHASES)}")
    phase: Phase = kind.from_plain(table, model)
    return phase
