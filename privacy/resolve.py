"""From a study to its plan: defaults filled in, noise calibrated, size and price checked.

Everything here is computed from public values: study, schema, defaults. Sensitivities are those
of one unit: a person's rows add up, so the norm of a record's vector counts once for each row
that a person may have.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import msgspec

from fedloom.common.errors import StudyError
from fedloom.common.models.coders import coder_of, encoding_of
from fedloom.common.models.registry import model_kind
from fedloom.common.models.settings import Training
from fedloom.common.parts import load_part
from fedloom.common.privacy_settings import MIN_SECURE_SITES
from fedloom.common.records import Coder
from fedloom.common.schema import Schema
from fedloom.common.study import Coordination, Study
from fedloom.common.vocabulary import Engine, Trust, Unit
from fedloom.privacy.calibration import noise_multipliers
from fedloom.privacy.measures import Measures
from fedloom.privacy.phases import Draft, Phase
from fedloom.privacy.phases.evaluation import draft_evaluation
from fedloom.privacy.phases.training import draft_training
from fedloom.privacy.plan import Plan, StatedPrice
from fedloom.privacy.plan_size import check_training_size

__all__ = ["again", "assemble", "drafts_of", "replaced", "resolve_plan"]

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
    coder = coder_of(study.model, schema, study.target)
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
        statistics_settings=_measures(study, coder).settings,
        phases=tuple(phases),
        release=study.release,
        coordination=_coordination(study),
        public=study.public,
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
    coder = coder_of(study.model, schema, study.target)
    evaluation, training, num_sites = study.evaluation, study.training, len(study.sites)
    drafts = list(_measures(study, coder).drafts)
    if training is not None:
        check_training_size(coder, study.model, training)
        share = math.fsum(draft.share for draft in drafts)
        if share >= 1.0 - evaluation.share:
            raise StudyError(
                f"[statistics] share = {share:g} and [evaluation] leave nothing for training"
            )
        drafts.append(
            draft_training(
                _training(study, training),
                share=1.0 - evaluation.share - share,
                model=study.model,
                coder=coder,
                nominal_records=_nominal_records(study),
                num_sites=num_sites,
            )
        )
    if evaluation.share > 0.0:
        if schema.kind.evaluation is None:
            raise StudyError(
                f"[evaluation] cannot score {schema.kind.name} records; remove the section"
            )
        encoding = encoding_of(study.model.kind, schema, study.target)
        drafts.append(draft_evaluation(evaluation, encoding, study.privacy, num_sites))
    return drafts


def _measures(study: Study, coder: Coder) -> Measures:
    found: Measures = load_part(model_kind(study.model.kind).measures)(study, coder)
    return found


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
