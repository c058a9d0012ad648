"""Which sums over images a study asks, and for which share of the budget.

One round counts columns and label, one looks at tone and frames, five make the generator. A model
that is trained takes all of them before its rounds (`kind = "pairwise"`, for second moments of
images), or the first two alone (`"one-way"`). Shares were chosen on held-back training records of
several sets; docs/decisions/ says so.
"""

from __future__ import annotations

import math

import msgspec

from fedloom.common.errors import StudyError
from fedloom.common.images.coder import ImageCoder
from fedloom.common.images.statistics import IMAGE_SUMS, ColumnSum, LookSum, most_cells
from fedloom.common.images.sums import L2_NORM
from fedloom.common.images.vote_sources import check_named
from fedloom.common.images.votes import VOTES, vote_shapes
from fedloom.common.models.registry import model_kind
from fedloom.common.study import MarginalKind, Study
from fedloom.privacy.measures import Measures, statistic_draft
from fedloom.privacy.phases.phase import array_bytes
from fedloom.privacy.plan_size import check_candidates_size, check_image_sums_size

__all__ = ["COLUMNS_SHARE", "LOOK_SHARE", "SHARES_OF_SUMS", "image_measures"]

# Parts of the statistics' budget: of the columns, of the look, and of the sums after it in order.
COLUMNS_SHARE, LOOK_SHARE = 0.03, 0.08
SHARES_OF_SUMS = (0.17, 0.30, 0.18, 0.08, 0.16)
# Of the budget, before training rounds.
_SHARES_BEFORE_TRAINING: dict[MarginalKind, float] = {"one-way": 0.08, "pairwise": 0.7}


def image_measures(study: Study, coder: ImageCoder) -> Measures:
    """Returns the sums that a model of images is made from.

    Args:
      study: the agreement.
      coder: of its schema's records.

    Raises:
      StudyError: the study sets what follows from the model, or a sum needs too much memory.
    """
    kind, share = _resolved(study)
    if coder.votes is not None:
        check_named(coder.votes)
    columns, look = ColumnSum(coder, {}), LookSum(coder, {})
    asked = [
        ("image-columns", COLUMNS_SHARE, columns.l2_norm, columns.length),
        ("image-look", LOOK_SHARE, look.l2_norm, look.length),
    ]
    if kind != "one-way":
        asked += [
            (name, part, float(L2_NORM), most_cells(name, coder))
            for name, part in zip(IMAGE_SUMS, SHARES_OF_SUMS, strict=True)
        ]
    check_image_sums_size(max(cells for *_, cells in asked), coder.encoding.num_classes)
    whole = math.fsum(part for _, part, *_ in asked)
    if coder.votes is not None:
        part = coder.votes.share / (1.0 - coder.votes.share) * whole / coder.votes.rounds
        cells = coder.encoding.num_classes * coder.votes.candidates
        asked += [(name, part, 1.0, cells) for name in VOTES[: coder.votes.rounds]]
        check_candidates_size(array_bytes(vote_shapes(coder)), coder.encoding.num_classes)
        whole += part * coder.votes.rounds
    drafts = [
        statistic_draft(study, name, share=share * part / whole, record_norm=norm, max_cells=cells)
        for name, part, norm, cells in asked
    ]
    settings = msgspec.structs.replace(study.statistics, kind=kind, share=share)
    return Measures(settings=settings, drafts=drafts)


def _resolved(study: Study) -> tuple[MarginalKind | None, float]:
    """Fills in how much is summed, and for which share of the budget.

    Raises:
      StudyError: a setting does not fit the model.
    """
    given, whole = study.statistics, 1.0 - study.evaluation.share
    name = study.model.kind
    for_tables = (
        *(given.one_way_share, given.class_share),
        *(given.three_way_share, given.parity_share),
    )
    if any(part is not None for part in for_tables):
        raise StudyError(
            f'kind = "{name}" starts from sums over images; remove [statistics] one_way_share, '
            "class_share, three_way_share and parity_share, which are for tables"
        )
    if not model_kind(name).trains:
        if given.kind is not None or given.share not in (None, whole):
            raise StudyError(
                f'kind = "{name}" is made from sums over images and has the whole budget for them; '
                "remove [statistics] kind and share"
            )
        return None, whole
    if given.kind == "three-way":
        raise StudyError(
            f'kind = "{name}" has no sums of triples; set [statistics] kind = "pairwise" to start '
            'from all sums over images, or "one-way" to start from a look at tones alone'
        )
    kind = given.kind or "pairwise"
    return kind, _SHARES_BEFORE_TRAINING[kind] if given.share is None else given.share
