"""How a vault computes each answer from its records: one function for each query.

Each function takes records, calls the mechanism that gives the guarantee and returns arrays that
may leave. Noise, clip, rates and steps come from the approved plan's phase, never from the
request.

A query whose answer is a sum returns one array `sum` of integers in grid steps. With a secure sum
a site's part holds only its share of the noise, so it goes through `mask_share`, which masks it,
before it is returned to anybody.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fedloom.client.records import Records, Snapshot
from fedloom.common.messages import Request
from fedloom.common.models.settings import WeightRounds
from fedloom.common.statistic_kinds import statistic_kind
from fedloom.common.vocabulary import Query, Stage
from fedloom.privacy.mechanisms.noisy_sum import noisy_sum
from fedloom.privacy.noise import NoiseSource
from fedloom.privacy.phases import EvaluationPhase, StatisticPhase, TrainingPhase
from fedloom.privacy.plan import Plan

__all__ = ["Arrays", "MaskShare", "answer_arrays"]

Array = np.ndarray[Any, np.dtype[Any]]
Arrays = dict[str, Array]
MaskShare = Callable[[Array], Array]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    """What an answer is computed from.

    Attributes:
      plan: the approved plan.
      arrays: of the request, checked.
      noise: the site's source of noise.
      num_shares: how many sites' shares make up the noise of a sum.
      device: where torch computes.
    """

    plan: Plan
    arrays: Mapping[str, Array]
    noise: NoiseSource
    num_shares: int
    device: str


def answer_arrays(
    plan: Plan,
    request: Request,
    snapshot: Snapshot,
    noise: NoiseSource,
    *,
    device: str,
    mask_share: MaskShare,
) -> Arrays:
    """Computes the arrays of one answer.

    Guarantee: the event of `plan.rounds[request.round - 1]`, under adding or removing one unit;
    see the mechanism that the query names. With a secure sum the guarantee is that of the sum
    over the roster, and `mask_share` hides the part that is returned.

    Args:
      plan: the approved plan.
      request: checked against the plan.
      snapshot: the private records; held-back units are in no query but `evaluate`.
      noise: the site's source of noise.
      device: where torch computes, such as "cpu" or "cuda:0".
      mask_share: masks a sum's integers, or leaves them as they are with per-site trust.
    """
    phase = plan.rounds[request.round - 1].phase
    question = _Question(
        plan=plan,
        arrays=request.arrays,
        noise=noise,
        num_shares=1 if plan.colluding is None else len(request.roster) - plan.colluding,
        device=device,
    )
    records = snapshot.held_back if phase.stage is Stage.EVALUATION else snapshot.training
    if phase.query is Query.TRAIN:
        return _train(phase, question, records)
    return {"sum": mask_share(_SUMS[phase.query](phase, question, records))}


def _statistic(phase: Any, question: _Question, records: Records) -> Array:
    assert isinstance(phase, StatisticPhase)
    kind = statistic_kind(phase.statistic)
    measured = kind.of(question.plan.coder, question.arrays)
    return noisy_sum(
        measured.sum(records.features, records.classes),
        l2_norm=phase.l2_norm,
        noise_multiplier=phase.noise_multiplier,
        noise=question.noise,
        grid_step=phase.grid_step,
        num_shares=question.num_shares,
        integer_valued=kind.integer_valued,
    )


def _evaluate(phase: Any, question: _Question, records: Records) -> Array:
    assert isinstance(phase, EvaluationPhase)
    evaluation = question.plan.schema.kind.make_evaluation(question.plan.coder)
    sums = evaluation.sums(records.features, records.classes, question.arrays)
    parts = [
        noisy_sum(
            sums[histogram.name],
            l2_norm=histogram.l2_norm,
            noise_multiplier=phase.noise_multiplier,
            noise=question.noise,
            grid_step=histogram.grid_step,
            num_shares=question.num_shares,
        )
        for histogram in phase.histograms
    ]
    return np.concatenate(parts)


def _gradient(phase: Any, question: _Question, records: Records) -> Array:
    from fedloom.privacy.mechanisms.noisy_gradient import noisy_gradient

    assert isinstance(phase, TrainingPhase) and phase.grid_step is not None
    model = question.plan.private_model
    module, public = model.restore(question.arrays)
    return noisy_gradient(
        module.to(question.device),
        model,
        records.features,
        records.classes,
        public,
        persons=records.persons,
        sample_rate=phase.settings.sample_rate,
        noise_multiplier=phase.noise_multiplier,
        max_grad_norm=phase.settings.max_grad_norm,
        engine=phase.settings.engine.value,
        max_physical_batch=phase.settings.max_physical_batch,
        grid_step=phase.grid_step,
        num_shares=question.num_shares,
        noise=question.noise,
    )


def _train(phase: Any, question: _Question, records: Records) -> Arrays:
    from fedloom.privacy.mechanisms.private_training import private_training

    assert isinstance(phase, TrainingPhase) and isinstance(phase.settings, WeightRounds)
    model, settings = question.plan.private_model, phase.settings
    module, public = model.restore(question.arrays)
    return private_training(
        module.to(question.device),
        model,
        records.features,
        records.classes,
        public,
        persons=records.persons,
        local_steps=settings.local_steps,
        sample_rate=settings.sample_rate,
        noise_multiplier=phase.noise_multiplier,
        max_grad_norm=settings.max_grad_norm,
        learning_rate=settings.learning_rate,
        normaliser=phase.normaliser,
        optimizer=settings.optimizer.value,
        engine=settings.engine.value,
        max_physical_batch=settings.max_physical_batch,
        noise=question.noise,
    )


_SUMS: dict[Query, Callable[[Any, _Question, Records], Array]] = {
    Query.STATISTIC: _statistic,
    Query.EVALUATE: _evaluate,
    Query.GRADIENT: _gradient,
}
"""By query, the answers that are sums."""
