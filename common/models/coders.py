"""How the records of a study become codes: as its model says, else as its schema's records do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedloom.common.encoding import Encoding
from fedloom.common.errors import StudyError
from fedloom.common.grid import DEFAULT_BINS
from fedloom.common.models.registry import ModelSettings, model_kind
from fedloom.common.parts import load_part
from fedloom.common.records import Coder

if TYPE_CHECKING:
    from fedloom.common.schema import Schema

__all__ = ["coder_of", "encoding_of"]


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
    if kind.coder is not None:
        coder: Coder = load_part(kind.coder)(model, schema, target)
        return coder
    if kind.default_bins != DEFAULT_BINS:
        return encoding_of(kind.name, schema, target)
    return schema.kind.make_coder(schema, target)


def encoding_of(kind: str, schema: Schema, target: str | None) -> Encoding:
    """Returns the cells of the schema's columns, as a kind of model takes them.

    Args:
      kind: of the model, or of the generator that came of it.
      schema: the public schema.
      target: the label column, or None.

    Raises:
      SchemaError: the schema has no such column, or one that is open.
      StudyError: there is no such kind.
    """
    return Encoding(schema, target, default_bins=model_kind(kind).default_bins)
