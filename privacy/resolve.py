"""From a study to its plan: defaults filled in, noise calibrated, size and price checked.

Everything here is computed from public values: study, schema, defaults. Sensitivities are those
of one unit: a person's rows add up, so the norm of a record's vector counts once for each row
that a person may have.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from fedloom.common.discovery import Discovery
from fedloom.common.encoding import Encoding
from fedloom.common.errors import StudyError
from fedloom.common.marginals import OneWayMarginals, TwoWayMarginals
from fedloom.common.models.registry import model_kind
from fedloom.common.models.settings import Training
from fedloom.common.privacy_settings import MIN_SECURE_SITES
from fedloom.common.schema import Schema
from fedloom.common.study import (
    Coordination,
    EvaluationSettings,
    MarginalKind,
    ReleaseSettings,
    StatisticsSettings,
    Study,
)
from fedloom.common.vocabulary import Engine, Trust, Unit
from fedloom.privacy.calibration import noise_multipliers
from fedloom.privacy.phases import Draft, Phase
from fedloom.privacy.phases.evaluation import draft_evaluation
from fedloom.privacy.phases.statistic import draft_statistic
from fedloom.privacy.phases.training import draft_training
from fedloom.privacy.plan import Plan, StatedPrice
from fedloom.privacy.plan_size import check_size, max_pair_cells

__all__ = ["again", "assemble", "drafts_of", "replaced", "resolve_plan"]

# Of the budget, for the statistics before training; docs/decisions/ tells on which tables.
_STATISTICS_SHARES = {"one-way": 0.35, "pairwise": 0.8}
# Of that, for the one-way counts beside pairs: where pairs make the model alone, and else.
_ONE_WAY_SHARE_ALONE, _ONE_WAY_SHARE = 0.25, 0.5
_MAX_STEPS = 1_000_000
# A site's expected batch is divided by a public number. The optimisers do not depend on its
# scale, so where no size is declared a nominal one serves every site alike.
_NOMINAL_RECORDS = 1000
# Void attempts of a secure sum are made good from these, as a part of all rounds.
_SPARES = 0.05


def resolve_plan(
    study: Study, schema: Schema, *, version: str, where: str | Path = "study"
) -> Plan:
    """Resolves a study to its plan.

    Args:
      study: the agreement; the keys of its coordinator and its sites join the plan.
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
        drafts = drafts_of(study, schema)
        noise = noise_multipliers(drafts, study.privacy, model=study.model.kind)
        phases = [draft.at(noise[draft.name]) for draft in drafts]
        return assemble(study, schema, phases, version=version)
    except StudyError as error:
        raise StudyError(f"{where}: {error}") from error


def again(study: Study, schema: Schema, stated: Sequence[Phase], *, version: str) -> Plan:
    """Resolves a study with noise that is given: that of stated phases, in their order.

    Raises:
      StudyError: the study has other phases, or cannot be resolved.
    """
    drafts = drafts_of(study, schema)
    if [draft.name for draft in drafts] != [phase.name for phase in stated]:
        raise StudyError("its phases are not those that follow from its settings")
    phases = [draft.at(phase.noise_multiplier) for draft, phase in zip(drafts, stated, strict=True)]
    return assemble(study, schema, phases, version=version)


def assemble(study: Study, schema: Schema, phases: Sequence[Phase], *, version: str) -> Plan:
    """Puts a plan together and prices it.

    Args:
      study: the agreement.
      schema: the schema whose digest the study holds.
      phases: with their noise.
      version: fedloom's version; major and minor join the plan.

    Raises:
      StudyError: the schema is another, or the shares of the phases do not sum to 1.
    """
    if study.schema_digest != schema.digest():
        raise StudyError("the study was made for another schema; load both again")
    nothing = StatedPrice(epsilon=0.0, epsilon_rdp=0.0, delta=study.privacy.delta)
    plan = Plan(
        fedloom=".".join(version.split(".")[:2]),
        name=study.name,
        target=study.target,
        study_digest=study.digest(),
        schema=schema,
        privacy=study.privacy,
        coordinator=study.coordinator,
        sites=study.sites,
        model=study.model,
        statistics_settings=_settings(study, schema),
        phases=tuple(phases),
        release=study.release,
        coordination=_coordination(study),
        stated_price=nothing,
    )
    cost = plan.price()
    stated = StatedPrice(
        epsilon=cost.epsilon, epsilon_rdp=cost.epsilon_rdp, delta=study.privacy.delta
    )
    return replaced(plan, stated_price=stated)


def replaced(plan: Plan, **changes: object) -> Plan:
    """Returns a plan with some parts exchanged; its digest is another."""
    fields = {name: getattr(plan, name) for name in Plan.__dataclass_fields__}
    return Plan(**{**fields, **changes})


def drafts_of(study: Study, schema: Schema) -> list[Draft]:
    """Returns the phases of a study, in order, with their shares of the budget."""
    if not model_kind(study.model.kind).makes_records:
        return [_discovery(study, schema)]
    encoding = Encoding(schema, study.target)
    num_sites = len(study.sites)
    drafts: list[Draft] = []
    evaluated = study.evaluation.share
    training = study.training
    left = 1.0 - evaluated
    settings = _resolved_statistics(study, encoding)
    share = settings.share or 0.0
    check_size(encoding, study.model, settings, training)
    drafts += _statistics_drafts(study, encoding, settings)
    if training is not None:
        if share >= left:
            raise StudyError(
                f"[statistics] share = {share:g} and [evaluation] leave nothing for training"
            )
        drafts.append(
            draft_training(
                _training(study, training),
                share=left - share,
                model=study.model,
                encoding=encoding,
                nominal_records=_nominal_records(study),
                num_sites=num_sites,
            )
        )
    if evaluated > 0.0:
        drafts.append(draft_evaluation(study.evaluation, encoding, study.privacy, num_sites))
    return drafts


def _resolved_statistics(study: Study, encoding: Encoding) -> StatisticsSettings:
    """Fills in which marginals are counted at the most, and their shares of the budget.

    Raises:
      StudyError: a setting does not fit the model.
    """
    given, trains = study.statistics, model_kind(study.model.kind).trains
    # One column has no pairs.
    most: MarginalKind = "one-way" if len(encoding.features) < 2 else "pairwise"
    kind: MarginalKind
    if trains:
        kind = "one-way" if most == "one-way" else given.kind or "one-way"
        share = _STATISTICS_SHARES[kind] if given.share is None else given.share
    else:
        kind, share = most, 1.0 - study.evaluation.share
        if given.kind not in (None, "pairwise", most) or given.share not in (None, share):
            raise StudyError(
                f'kind = "{study.model.kind}" is made from the pairwise statistics and has the '
                "whole budget for them; remove [statistics] kind and share"
            )
    part = given.one_way_share
    if part is None:
        part = _ONE_WAY_SHARE if trains else _ONE_WAY_SHARE_ALONE
    return msgspec.structs.replace(given, kind=kind, share=share, one_way_share=part)


def _statistics_drafts(
    study: Study, encoding: Encoding, settings: StatisticsSettings
) -> list[Draft]:
    draft = _drafter(study)
    one_way, share = OneWayMarginals(encoding), settings.share or 0.0
    if settings.kind == "one-way":
        return [draft("one-way", share, one_way.l2_norm, one_way.length)]
    part, pairs = settings.one_way_share or 0.0, TwoWayMarginals(encoding)
    return [
        draft("one-way", share * part, one_way.l2_norm, one_way.length),
        draft("pairwise", share * (1.0 - part), pairs.l2_norm, max_pair_cells(settings)),
    ]


def _discovery(study: Study, schema: Schema) -> Draft:
    """Returns the one sum of a study that completes a schema; it has the whole budget."""
    only_spares = StatisticsSettings(spare_rounds=study.statistics.spare_rounds)
    others = (study.target, study.evaluation, study.release, study.statistics)
    if others != (None, EvaluationSettings(), ReleaseSettings(), only_spares):
        raise StudyError(
            f'a study of kind = "{study.model.kind}" learns open columns and nothing else; remove '
            "target, [evaluation], [release] and [statistics], which belong to the study on the "
            "completed schema"
        )
    discovery = Discovery(schema)
    return _drafter(study)("discovery", 1.0, discovery.l2_norm, discovery.length)


def _settings(study: Study, schema: Schema) -> StatisticsSettings:
    if not model_kind(study.model.kind).makes_records:
        return study.statistics
    return _resolved_statistics(study, Encoding(schema, study.target))


def _drafter(study: Study) -> Callable[[str, float, float, int], Draft]:
    def draft(kind: str, share: float, record_norm: float, max_cells: int) -> Draft:
        return draft_statistic(
            kind,
            share=share,
            record_norm=record_norm,
            max_cells=max_cells,
            spares=study.statistics.spare_rounds,
            privacy=study.privacy,
            num_sites=len(study.sites),
        )

    return draft


def _training(study: Study, settings: Training) -> Training:
    """Fills in what follows from trust and unit, and checks what no single key can tell."""
    masked, persons = study.privacy.masked, study.privacy.unit is Unit.PERSON
    spares = settings.spare_rounds
    if spares is None:
        spares = max(1, math.ceil(_SPARES * settings.num_rounds)) if masked else 0
    if settings.num_rounds * settings.local_steps > _MAX_STEPS:
        raise StudyError(
            f"[training] num_rounds times local_steps must be at most {_MAX_STEPS}: "
            f"{settings.num_rounds} times {settings.local_steps} is more"
        )
    engine = Engine.FUSED if persons else settings.engine
    return msgspec.structs.replace(settings, spare_rounds=spares, engine=engine)


def _coordination(study: Study) -> Coordination:
    """Fills in the quorum: of a roster, the coordinator's friends set aside, two must remain."""
    num_sites, given = len(study.sites), study.coordination.min_sites
    fewest = 1
    if study.privacy.trust is Trust.SECURE_SUM:
        fewest = max(MIN_SECURE_SITES, study.privacy.colluding + 2)
    min_sites = max(fewest, math.ceil(2 * num_sites / 3)) if given is None else given
    if not fewest <= min_sites <= num_sites:
        raise StudyError(
            f"[coordination] min_sites = {min_sites} must lie between {fewest} and the number of "
            f"sites, {num_sites}"
        )
    return msgspec.structs.replace(study.coordination, min_sites=min_sites)


def _nominal_records(study: Study) -> float:
    declared = [site.records for site in study.sites if site.records is not None]
    if len(declared) < len(study.sites):
        return float(_NOMINAL_RECORDS)
    return sum(declared) / len(declared)
