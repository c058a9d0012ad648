"""REDCap's data dictionary: the CSV that a REDCap project exports, with old or new headings.

Fields become columns as they appear in an export of raw values: a checkbox is one column for each
of its choices. Free text, files, and fields that are marked as identifiers are left out, and so is
the record's own number, which is always the first field.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fedloom.common.draft.dictionary import described
from fedloom.common.draft.draft import DOCUMENT, Draft, DraftColumn
from fedloom.common.draft.words import Levels, bound_of, levels_of, truth_of

__all__ = ["is_redcap", "redcap"]

_OLD = {
    "field_name": "Variable / Field Name",
    "field_type": "Field Type",
    "field_label": "Field Label",
    "select_choices_or_calculations": "Choices, Calculations, OR Slider Labels",
    "text_validation_type_or_show_slider_number": "Text Validation Type OR Show Slider Number",
    "text_validation_min": "Text Validation Min",
    "text_validation_max": "Text Validation Max",
    "identifier": "Identifier?",
    "branching_logic": "Branching Logic (Show field only if...)",
    "required_field": "Required Field?",
}
_CHOICES = ("radio", "dropdown", "checkbox")
_TRUTH: Levels = {"0": "No", "1": "Yes"}
_TAG = re.compile(r"<[^>]+>")
_CODE = re.compile(r"[^a-z0-9_]")
_VALIDATED = (("integer", "integer"), ("number", "real"), ("date", "datetime"))


def is_redcap(keys: Sequence[str]) -> bool:
    """Tells whether headings are those of REDCap's data dictionary."""
    return {"field_name", "field_type"} <= set(keys) or {
        _OLD["field_name"],
        _OLD["field_type"],
    } <= set(keys)


def redcap(entries: Sequence[Mapping[str, Any]]) -> Draft:
    """Reads a data dictionary.

    Args:
      entries: One mapping a field, by heading.

    Raises:
      SchemaError: none of its fields is a column, or two have one name.
    """
    columns: list[DraftColumn] = []
    left_out: dict[str, str] = {}
    for number, entry in enumerate(entries):
        field = {key: _text(entry.get(key, entry.get(old))) for key, old in _OLD.items()}
        name, kind = field["field_name"], field["field_type"].lower()
        if not name:
            continue
        if number == 0:
            left_out[name] = (
                "the record's number; if a person has several records, the column that tells "
                "persons apart is named in the study, [privacy] id"
            )
        elif truth_of(field["identifier"]) is True:
            left_out[name] = "REDCap marks it as an identifier"
        else:
            found = list(_columns(field, kind))
            columns += found
            if not found:
                left_out[name] = f"of the type {kind!r} without a validation that tells its kind"
    return Draft(
        form="a REDCap data dictionary",
        source=DOCUMENT,
        columns=tuple(columns),
        left_out=left_out,
    )


def _columns(field: Mapping[str, str], kind: str) -> Iterator[DraftColumn]:
    name, choices = field["field_name"], field["select_choices_or_calculations"]
    label = " ".join(_TAG.sub(" ", field["field_label"]).split())
    nullable = truth_of(field["required_field"]) is not True or bool(field["branching_logic"])
    if kind == "checkbox":
        for code, meaning in levels_of(choices).items():
            yield DraftColumn(
                name=f"{name}___{_CODE.sub('_', code.lower())}",
                kind="category",
                values=("0", "1"),
                description=f"{label}: {meaning}" if label else meaning,
            )
    elif kind in _CHOICES or kind in ("yesno", "truefalse"):
        levels = levels_of(choices) if kind in _CHOICES else _TRUTH
        yield DraftColumn(
            name=name,
            kind="category",
            values=tuple(levels),
            nullable=nullable,
            description=described(label, "", levels),
        )
    elif kind == "slider":
        yield _number(field, "integer", label, nullable, ("0", "100"))
    elif kind == "calc":
        yield _number(field, "real", label, nullable, ("", ""))
    elif kind == "sql":
        yield DraftColumn(name=name, kind="category", nullable=nullable, description=label)
    elif kind == "text":
        validation = field["text_validation_type_or_show_slider_number"].lower()
        for prefix, found in _VALIDATED:
            if validation.startswith(prefix):
                yield _number(field, found, label, nullable, ("", ""))


def _number(
    field: Mapping[str, str], kind: str, label: str, nullable: bool, default: tuple[str, str]
) -> DraftColumn:
    bounds, hints = [], []
    for key, otherwise in zip(("min", "max"), default, strict=True):
        text = field[f"text_validation_{key}"] or otherwise
        bounds.append(bound_of(text, kind))
        if text and bounds[-1] is None:
            hints.append(f"REDCap says {key} {text!r}, which is no fixed value")
    return DraftColumn(
        name=field["field_name"],
        kind=kind,
        minimum=bounds[0],
        maximum=bounds[1],
        nullable=nullable,
        description=label,
        hints=tuple(hints),
    )


def _text(value: Any) -> str:
    return "" if value is None else str(value).strip()
