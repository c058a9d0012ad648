"""Which sums over images a study asks, and for which share of the budget.

One round counts columns and label, one looks at tone and frames, five make the generator. Shares
were chosen on held-back training records of one set, MNIST; docs/decisions/ says so.
"""

from __future__ import annotations

import msgspec

from fedloom.common.errors import StudyError
from fedloom.common.images.coder import ImageCoder
from fedloom.common.images.statistics import IMAGE_SUMS, ColumnSum, LookSum, most_cells
from fedloom.common.images.sums import L2_NORM
from fedloom.common.study import Study
from fedloom.privacy.measures import Measures, statistic_draft
from fedloom.privacy.plan_size import check_image_sums_size

__all__ = ["image_measures"]

_COLUMNS, _LOOK = 0.03, 0.05
_SHARES = (0.15, 0.15, 0.25, 0.12, 0.25)


def image_measures(study: Study, coder: ImageCoder) -> Measures:
    """Returns the sums that a model of images is made from.

    Args:
      study: the agreement.
      coder: of its schema's records.

    Raises:
      StudyError: the study sets what follows from the model, or a sum needs too much memory.
    """
    whole = 1.0 - study.evaluation.share
    given = study.statistics
    if (
        given.kind is not None
        or given.one_way_share is not None
        or given.share not in (None, whole)
    ):
        raise StudyError(
            f'kind = "{study.model.kind}" is made from sums over images and has the whole budget '
            "for them; remove [statistics] kind, share and one_way_share"
        )
    columns, look = ColumnSum(coder, {}), LookSum(coder, {})
    asked = [
        ("image-columns", _COLUMNS, columns.l2_norm, columns.length),
        ("image-look", _LOOK, look.l2_norm, look.length),
        *(
            (name, share, float(L2_NORM), most_cells(name, coder))
            for name, share in zip(IMAGE_SUMS, _SHARES, strict=True)
        ),
    ]
    check_image_sums_size(max(cells for *_, cells in asked), coder.encoding.num_classes)
    drafts = [
        statistic_draft(study, name, share=whole * share, record_norm=norm, max_cells=cells)
        for name, share, norm, cells in asked
    ]
    return Measures(settings=msgspec.structs.replace(given, share=whole), drafts=drafts)
