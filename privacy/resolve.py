"""From a study to its plan: defaults filled in, noise calibrated, size and price checked.

Everything here is computed from public values: study, schema, defaults. Sensitivities are those
of one unit: a person's rows add up, so the norm of a record's vector counts once for each row
that a person may have.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedloom.common.discovery import Discovery
from fedloom.common.encoding import Encoding
from fedloom.common.errors import StudyError
from fedloom.common.models.size import num_parameters
from fedloom.common.schema import Schema
from fedloom.common.scores import Evaluation
from fedloom.common.statistics import OneWay, Pairwise
from fedloom.common.study import Study
from fedloom.privacy.calibration import Phase, noise_multipliers
from fedloom.privacy.events import gaussian, repeat, subsampled
from fedloom.privacy.plan import PLAN_FORMAT, Plan, price_of
from fedloom.privacy.plan_rounds import overlapping
from fedloom.privacy.plan_size import check_size, most_cells
from fedloom.privacy.resolve_sections import (
    discovery_section,
    evaluation_section,
    model_section,
    statistics_section,
    training_section,
)
from fedloom.privacy.secure_sum.lattice import unit_of

__all__ = ["LOOK", "PAIRS", "assemble", "resolve_plan"]

LOOK, PAIRS = "look", "pairs"


def resolve_plan(
    study: Study, schema: Schema, *, version: str, where: str | Path = "study"
) -> Plan:
    """Resolves a study to its plan.

    Args:
      study: the agreement; its sites' keys join the plan.
      schema: the schema whose digest the study holds.
      version: fedloom's version; major and minor join the plan.
      where: name of the study's file, for messages.

    Returns:
      The plan, whose price is at most the study's epsilon at its delta.

    Raises:
      StudyError: a setting is unknown or out of range, the plan would need too much memory, or
        no noise meets the budget.
    """
    try:
        return _resolve(study, schema, version)
    except StudyError as error:
        raise StudyError(f"{where}: {error}") from error


def _resolve(study: Study, schema: Schema, version: str) -> Plan:
    noise = noise_multipliers(_phases(study, schema), epsilon=study.epsilon, delta=study.delta)
    return assemble(study, schema, version=version, noise=noise)


def _phases(study: Study, schema: Schema) -> list[Phase]:
    """Returns the phases that have a noise of their own, with their shares of the budget."""
    if study.model["kind"] == "schema":
        attempts = 1 + discovery_section(study)["spare_rounds"]
        return [_gaussians(study, LOOK, 1.0, attempts)]
    encoding = Encoding(schema, study.target)
    evaluation = evaluation_section(study)
    statistics = statistics_section(study, encoding, evaluation)
    training, _ = training_section(study)
    share, attempts = statistics["share"], 1 + statistics["spare_rounds"]
    shares = {LOOK: share}
    if statistics["kind"] == "pairwise":
        look = statistics["look_share"]
        shares = {LOOK: share * look, PAIRS: share * (1.0 - look)}
    phases = [_gaussians(study, name, part, attempts) for name, part in shares.items()]
    evaluated = 0.0
    if evaluation is not None:
        evaluated = evaluation["share"]
        count = len(Evaluation(encoding).histograms)
        phases.append(_gaussians(study, "evaluation", evaluated, count))
    if training is not None:
        rounds = training["num_rounds"] + training["spare_rounds"]
        steps, rate = training["local_steps"] * rounds, training["sample_rate"]
        phases.append(
            Phase(
                name="training",
                share=1.0 - share - evaluated,
                event_at=lambda noise: overlapping(
                    lambda own: subsampled(rate, own, steps),
                    noise,
                    overlap=study.overlap,
                    trust=study.trust,
                ),
                identity=[rate, steps, study.overlap, study.trust],
            )
        )
    return phases


def _gaussians(study: Study, name: str, share: float, count: int) -> Phase:
    """Returns a phase of `count` noisy sums over all units."""

    def event_at(noise: float) -> Any:
        event = overlapping(gaussian, noise, overlap=study.overlap, trust=study.trust)
        return event if count == 1 else repeat(event, count)

    identity = [count, study.overlap, study.trust]
    return Phase(name=name, share=share, event_at=event_at, identity=identity)


def assemble(study: Study, schema: Schema, *, version: str, noise: Mapping[str, float]) -> Plan:
    """Fills in everything but the noise, which is given, and prices the result.

    Args:
      study: the agreement.
      schema: the schema whose digest the study holds.
      version: fedloom's version; major and minor join the plan.
      noise: noise multiplier of each phase: "look", and as far as the study has them "pairs",
        "training", "evaluation".

    Raises:
      StudyError: a setting is unknown or out of range, a noise multiplier is missing, or the
        plan would need too much memory.
    """
    if study.schema_digest != schema.digest():
        raise StudyError("the study was made for another schema; load both again")
    model = model_section(study)
    training, coordination = training_section(study)
    evaluation = None
    if model["kind"] == "schema":
        statistics = discovery_section(study)
    else:
        encoding = Encoding(schema, study.target)
        evaluation = evaluation_section(study)
        statistics = statistics_section(study, encoding, evaluation)
        check_size(encoding, model, statistics, training)
    try:
        if model["kind"] == "schema":
            statistics["rounds"] = [_round(study, Discovery(schema), noise[LOOK])]
        else:
            statistics["rounds"] = _statistics_rounds(study, encoding, statistics, noise)
        if training is not None:
            training["noise_multiplier"] = noise["training"]
            if training["query"] == "gradient":
                training["lattice_unit"] = _gradient_unit(study, encoding, model, training)
        if evaluation is not None:
            evaluation["noise_multiplier"] = noise["evaluation"]
            evaluation["histograms"] = _histograms(study, encoding, evaluation)
    except KeyError as error:
        raise StudyError(f"no noise multiplier is given for the phase {error}") from error
    body: dict[str, Any] = {
        "format": PLAN_FORMAT,
        "fedloom": ".".join(version.split(".")[:2]),
        "study": {"name": study.name, "target": study.target, "digest": study.digest()},
        "schema": schema.to_dict(),
        "schema_digest": schema.digest(),
        "privacy": {
            "epsilon": study.epsilon,
            "delta": study.delta,
            "unit": study.unit,
            "id": study.id,
            "rows_per_person": study.rows_per_person,
            "overlap": study.overlap,
            "trust": study.trust,
            "colluding": study.colluding,
            "neighbouring": "add-or-remove-one",
        },
        "sites": [site.to_dict() for site in study.sites],
        "model": model,
        "statistics": statistics,
        "training": training,
        "evaluation": evaluation,
        "release": study.release,
        "coordination": coordination,
        "price": {},
    }
    cost = price_of(Plan(body).event(), study.delta)
    body["price"] = {
        "epsilon": cost.epsilon,
        "epsilon_rdp": cost.epsilon_rdp,
        "delta": study.delta,
    }
    return Plan(body)


def _statistics_rounds(
    study: Study, encoding: Encoding, statistics: dict[str, Any], noise: Mapping[str, float]
) -> list[dict[str, Any]]:
    rounds = [_round(study, OneWay(encoding), noise[LOOK])]
    if statistics["kind"] == "pairwise":
        pairs = Pairwise(encoding)
        rounds.append(
            {
                "kind": pairs.kind,
                **_counts(study, pairs.l2_norm, noise[PAIRS]),
                "most_cells": most_cells(statistics),
            }
        )
    return rounds


def _round(study: Study, measured: OneWay | Discovery, noise_multiplier: float) -> dict[str, Any]:
    """Returns a round whose layout follows from the schema alone."""
    counts = _counts(study, measured.l2_norm, noise_multiplier)
    return {"kind": measured.kind, **counts, "length": measured.length}


def _counts(study: Study, record_norm: float, noise_multiplier: float) -> dict[str, float]:
    """Returns norm, noise and lattice of a sum of counts."""
    l2_norm = record_norm * study.rows_per_person
    unit = unit_of(
        noise_multiplier * l2_norm, len(study.sites), l2_norm=l2_norm, length=1, whole=True
    )
    return {"l2_norm": l2_norm, "noise_multiplier": noise_multiplier, "lattice_unit": unit}


def _gradient_unit(
    study: Study, encoding: Encoding, model: dict[str, Any], training: dict[str, Any]
) -> float:
    clip = training["max_grad_norm"]
    return unit_of(
        training["noise_multiplier"] * clip,
        len(study.sites),
        l2_norm=clip,
        length=num_parameters(model, encoding),
        whole=False,
    )


def _histograms(
    study: Study, encoding: Encoding, evaluation: dict[str, Any]
) -> list[dict[str, Any]]:
    found = []
    for histogram in Evaluation(encoding).histograms:
        counts = _counts(study, histogram.l2_norm, evaluation["noise_multiplier"])
        found.append({"name": histogram.name, "length": histogram.length, **counts})
    return found
