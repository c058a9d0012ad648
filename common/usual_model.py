"""Which kind of model a study gets that names none: from public values alone.

A `tree` needs pairs that stand out of the noise; a `mixture` spends more on single columns, and
gives better labels where pairs hardly do. How many records there are for the noise of a pair
follows from what the study declares: the noise grows with the number of columns (each has a pair
with every other), with what one unit may add, and with 1 / epsilon; in per-site trust each
institution adds its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from fedloom.common.privacy_settings import PrivacySettings
from fedloom.common.schema import Schema

__all__ = ["usual_model"]

# Records by column at epsilon 1 below which a mixture was ahead (docs/models.md has the tables).
_FEWEST_BY_COLUMN = 160.0


def usual_model(
    schema: Schema, privacy: PrivacySettings, declared: Sequence[int | None], *, plain: bool
) -> str:
    """Returns the kind of model of a study that names none.

    Args:
      schema: that the study is about.
      privacy: budget, unit and trust.
      declared: the records that each site declares to be public; None keeps them private.
      plain: whether the study says nothing that only the kind of its records' usual model reads.
    """
    if schema.open_columns:
        return "schema"
    usual, small = schema.kind.default_model, schema.kind.small_model
    known = [records for records in declared if records is not None]
    if not plain or small is None or len(known) < len(declared):
        return usual
    answers = 1 if privacy.masked else len(declared)
    added = privacy.rows_per_person * privacy.overlap
    signal = sum(known) * privacy.epsilon / (added * math.sqrt(answers))
    return small if signal < _FEWEST_BY_COLUMN * len(schema.columns) else usual
