"""How the records of a study become codes: as its model says, else as its schema's records do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedloom.common.errors import StudyError
from fedloom.common.models.registry import ModelSettings, model_kind
from fedloom.common.parts import load_part
from fedloom.common.records import Coder

if TYPE_CHECKING:
    from fedloom.common.schema import Schema

__all__ = ["coder_of"]


def coder_of(model: ModelSettings, schema: Schema, target: str | None) -> Coder:
    """Returns how records become codes: as the model's kind says, else as the schema's does.

    Raises:
      SchemaError: the schema does not fit.
      StudyError: the model is not one of such records.
    """
    kind = model_kind(model.kind)
    if schema.kind.name not in kind.records:
        raise StudyError(
            f'[model] kind = "{kind.name}" is a model of {" and ".join(kind.records)} records, the '
            f"schema describes {schema.kind.name} records; choose another kind"
        )
    if kind.coder is None:
        return schema.kind.make_coder(schema, target)
    coder: Coder = load_part(kind.coder)(schema)
    return coder
