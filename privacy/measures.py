"""Which statistics a study asks before anything is trained, and for which share of the budget.

A kind of model names the function that answers this (`ModelKind.measures`). Everything here is
computed from public values: study, schema, defaults.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from fedloom.common.discovery import Discovery
from fedloom.common.encoding import Encoding
from fedloom.common.errors import StudyError
from fedloom.common.marginals import OneWayMarginals, TwoWayMarginals
from fedloom.common.models.registry import model_kind
from fedloom.common.study import (
    EvaluationSettings,
    MarginalKind,
    ReleaseSettings,
    StatisticsSettings,
    Study,
)
from fedloom.privacy.phases import Draft
from fedloom.privacy.phases.statistic import draft_statistic
from fedloom.privacy.plan_size import check_statistics_size, max_pair_cells

__all__ = ["Measures", "discovery_measures", "marginal_measures", "statistic_draft"]

# Of the budget, for the statistics before training; docs/decisions/ tells on which tables.
_STATISTICS_SHARES = {"one-way": 0.35, "pairwise": 0.8}
# Of that, for the one-way counts beside pairs: where pairs make the model alone, and else.
_ONE_WAY_SHARE_ALONE, _ONE_WAY_SHARE = 0.25, 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """All statistics of a study.

    Attributes:
      settings: `[statistics]` with everything filled in that the study left open.
      drafts: of the phases before training, in the order in which they are asked.
    """

    settings: StatisticsSettings
    drafts: Sequence[Draft]


def statistic_draft(
    study: Study, kind: str, *, share: float, record_norm: float, max_cells: int
) -> Draft:
    """Returns the draft of one statistic of a study.

    Args:
      study: the agreement.
      kind: of the statistic.
      share: of the whole budget.
      record_norm: most that one record adds to the sum, in the L2 norm.
      max_cells: coordinates of the sum, at most.
    """
    return draft_statistic(
        kind,
        share=share,
        record_norm=record_norm,
        max_cells=max_cells,
        spares=study.statistics.spare_rounds,
        privacy=study.privacy,
        num_sites=len(study.sites),
    )


def marginal_measures(study: Study, coder: Encoding) -> Measures:
    """Returns the counts that a model of tables is made from, or starts from.

    Args:
      study: the agreement.
      coder: the encoding of its schema.

    Raises:
      StudyError: a setting does not fit the model, or the counts need too much memory.
    """
    if coder.sets:
        raise StudyError(
            f"column '{coder.sets[0].name}' is a set, of which kind = \"{study.model.kind}\" would "
            'make nothing but the number of items; choose [model] kind = "tree"'
        )
    settings = _resolved(study, coder)
    check_statistics_size(coder, settings)
    share, one_way = settings.share or 0.0, OneWayMarginals(coder)
    part = settings.one_way_share or 0.0
    if settings.kind == "one-way":
        part = 1.0
    drafts = [
        statistic_draft(
            study,
            "one-way",
            share=share * part,
            record_norm=one_way.l2_norm,
            max_cells=one_way.length,
        )
    ]
    if settings.kind == "pairwise":
        drafts.append(
            statistic_draft(
                study,
                "pairwise",
                share=share * (1.0 - part),
                record_norm=TwoWayMarginals(coder).l2_norm,
                max_cells=max_pair_cells(settings),
            )
        )
    return Measures(settings=settings, drafts=drafts)


def discovery_measures(study: Study, coder: Discovery) -> Measures:
    """Returns the one sum of a study that completes a schema; it has the whole budget.

    Args:
      study: the agreement.
      coder: the discovery of its open schema.

    Raises:
      StudyError: the study has settings that only a study with a generator can have.
    """
    only_spares = StatisticsSettings(spare_rounds=study.statistics.spare_rounds)
    others = (study.target, study.evaluation, study.release, study.statistics)
    if others != (None, EvaluationSettings(), ReleaseSettings(), only_spares):
        raise StudyError(
            f'a study of kind = "{study.model.kind}" learns open columns and nothing else; remove '
            "target, [evaluation], [release] and [statistics], which belong to the study on the "
            "completed schema"
        )
    draft = statistic_draft(
        study, "discovery", share=1.0, record_norm=coder.l2_norm, max_cells=coder.length
    )
    return Measures(settings=study.statistics, drafts=[draft])


def _resolved(study: Study, encoding: Encoding) -> StatisticsSettings:
    """Fills in which marginals are counted at the most, and their shares of the budget.

    Raises:
      StudyError: a setting does not fit the model.
    """
    given, trains = study.statistics, model_kind(study.model.kind).trains
    # One column has no pairs.
    most: MarginalKind = "one-way" if len(encoding.features) < 2 else "pairwise"
    kind: MarginalKind
    of_tree = (given.class_share, given.three_way_share, given.parity_share)
    if given.kind == "three-way" or any(part is not None for part in of_tree):
        raise StudyError(
            f'kind = "{study.model.kind}" takes neither triples nor parities, nor columns apart '
            "from its look; remove [statistics] three_way_share, class_share, parity_share and "
            'kind = "three-way", or choose [model] kind = "tree"'
        )
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
