"""Standard descriptions of tables in JSON: Frictionless, CSV on the Web, JSON Schema, fedloom.

Each is told apart by keys that only it has. What a standard states about a field is taken as it
is; what fedloom has no word for is left to the reader.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fedloom.common.draft.dictionary import described
from fedloom.common.draft.draft import DOCUMENT, Draft, DraftColumn
from fedloom.common.draft.words import FREE_TEXT, bound_of, kind_of, levels_of
from fedloom.common.errors import SchemaError

__all__ = ["standard"]

_FEDLOOM_FORM = "fedloom-codebook/"


def standard(document: Any, table: str | None) -> Draft | None:
    """Reads a document that follows a standard; None if it follows none that is known.

    Args:
      document: As parsed.
      table: Which of several tables, by name; None if there is one.

    Raises:
      SchemaError: it holds several tables and none was chosen, or a type that nobody knows.
    """
    if not isinstance(document, Mapping):
        return None
    if str(document.get("format", "")).startswith(_FEDLOOM_FORM):
        return _fedloom(document)
    if "resources" in document:
        schemas = {
            str(entry.get("name", number)): entry["schema"]
            for number, entry in enumerate(_mappings(document["resources"]), 1)
            if isinstance(entry.get("schema"), Mapping)
        }
        return _frictionless(_chosen(schemas, table), "a Frictionless data package")
    if isinstance(document.get("fields"), list):
        return _frictionless(document, "a Frictionless table schema")
    if "tableSchema" in document:
        return _csvw(document["tableSchema"])
    if "tables" in document:
        schemas = {
            str(entry.get("url", number)): entry["tableSchema"]
            for number, entry in enumerate(_mappings(document["tables"]), 1)
            if isinstance(entry.get("tableSchema"), Mapping)
        }
        return _csvw(_chosen(schemas, table))
    if isinstance(document.get("items"), Mapping):
        document = document["items"]
    if isinstance(document.get("properties"), Mapping):
        return _json_schema(document)
    return None


def _chosen(schemas: Mapping[str, Any], table: str | None) -> Mapping[str, Any]:
    if table is None and len(schemas) == 1:
        return dict(next(iter(schemas.values())))
    if table is None or table not in schemas:
        names = ", ".join(schemas) or "none"
        raise SchemaError(f"the document describes {names}; choose one by --table NAME")
    return dict(schemas[table])


def _fedloom(document: Mapping[str, Any]) -> Draft:
    columns = []
    for entry in _mappings(document.get("columns")):
        kind = str(entry.get("kind"))
        special = [bound_of(value, kind) for value in entry.get("special") or ()]
        columns.append(
            DraftColumn(
                name=str(entry.get("name")),
                kind="set" if kind == "set" else kind_of(kind),
                max_items=entry.get("max_items"),
                separator=entry.get("separator"),
                minimum=bound_of(entry.get("min"), kind),
                maximum=bound_of(entry.get("max"), kind),
                values=tuple(str(value) for value in entry.get("values") or ()),
                special=tuple(value for value in special if value is not None),
                nullable=bool(entry.get("missing")),
                other=entry.get("other"),
                scale=str(entry.get("scale", "auto")),
                description=str(entry.get("description", "")),
            )
        )
    return Draft(
        form="the codebook of a fedloom release",
        source=DOCUMENT,
        columns=tuple(columns),
        constraints=tuple(_mappings(document.get("constraints"))),
    )


def _frictionless(schema: Mapping[str, Any], form: str) -> Draft:
    columns, left_out = [], {}
    for entry in _mappings(schema.get("fields")):
        name, word = str(entry.get("name", "")), str(entry.get("type", "string"))
        rules = entry.get("constraints") or {}
        levels = levels_of(entry.get("categories") or rules.get("enum") or [])
        if word == "boolean" and not levels:
            false = (entry.get("falseValues") or ["false"])[0]
            levels = {str(false): "", str((entry.get("trueValues") or ["true"])[0]): ""}
        column = _field(
            name,
            word,
            levels,
            rules,
            required=rules.get("required"),
            text=entry.get("description") or entry.get("title"),
            unit=entry.get("unit"),
        )
        if isinstance(column, str):
            left_out[name] = column
        else:
            columns.append(column)
    return Draft(form=form, source=DOCUMENT, columns=tuple(columns), left_out=left_out)


def _csvw(schema: Any) -> Draft:
    columns, left_out = [], {}
    for entry in _mappings(schema.get("columns") if isinstance(schema, Mapping) else None):
        if entry.get("virtual") is True:
            continue
        name = _in_any_language(entry.get("titles")) or str(entry.get("name", ""))
        datatype = entry.get("datatype", schema.get("datatype", "string"))
        rules = datatype if isinstance(datatype, Mapping) else {"base": datatype}
        word, form = str(rules.get("base", "string")), str(rules.get("format", ""))
        levels = {}
        if word == "boolean":
            true, _, false = (form if "|" in form else "true|false").partition("|")
            levels = {false: "", true: ""}
        elif word == "string" and form and not set(form) & set("\\[].*+?^${}"):
            levels = levels_of(form.strip("()"))
        limits = {
            "minimum": rules.get("minimum", rules.get("minInclusive")),
            "maximum": rules.get("maximum", rules.get("maxInclusive")),
        }
        text = entry.get("dc:description", entry.get("rdfs:comment", ""))
        column = _field(
            name,
            word,
            levels,
            limits,
            required=entry.get("required"),
            text=_in_any_language(text),
            unit=None,
        )
        if isinstance(column, str):
            left_out[name] = column
        else:
            columns.append(column)
    return Draft(
        form="a CSV on the Web description",
        source=DOCUMENT,
        columns=tuple(columns),
        left_out=left_out,
    )


def _json_schema(document: Mapping[str, Any]) -> Draft:
    columns, left_out = [], {}
    required = set(document.get("required") or ())
    for name, entry in document["properties"].items():
        words = entry.get("type", "string")
        words = [words] if isinstance(words, str) else list(words)
        word = next((word for word in words if word != "null"), "string")
        form = str(entry.get("format", ""))
        levels = levels_of([value for value in entry.get("enum") or () if value is not None])
        if word == "boolean":
            levels = {"false": "", "true": ""}
        column = _field(
            str(name),
            form if form.startswith("date") else word,
            levels,
            entry,
            required=False if "null" in words else name in required,
            text=entry.get("description") or entry.get("title"),
            unit=entry.get("unit"),
        )
        if isinstance(column, str):
            left_out[str(name)] = column
        else:
            columns.append(column)
    return Draft(form="a JSON Schema", source=DOCUMENT, columns=tuple(columns), left_out=left_out)


def _field(
    name: str,
    word: str,
    levels: Mapping[str, str],
    rules: Mapping[str, Any],
    *,
    required: Any,
    text: Any,
    unit: Any,
) -> DraftColumn | str:
    """Returns a column, or why the field is none."""
    kind = kind_of(word)
    if kind is None:
        raise SchemaError(f"field '{name}': {word!r} is no type that fedloom knows; correct it")
    if kind == FREE_TEXT:
        return f"of the type {word!r}, which is no column of a schema"
    if levels:
        kind = "category"
    numeric = kind != "category"
    return DraftColumn(
        name=name,
        kind=kind,
        minimum=bound_of(rules.get("minimum"), kind) if numeric else None,
        maximum=bound_of(rules.get("maximum"), kind) if numeric else None,
        values=tuple(levels),
        nullable=None if required is None else not required,
        description=described(text, unit, dict(levels)),
    )


def _mappings(value: Any) -> Iterator[Mapping[str, Any]]:
    for entry in value if isinstance(value, Sequence) and not isinstance(value, str) else ():
        if not isinstance(entry, Mapping):
            raise SchemaError(f"the document lists {entry!r} where a description was expected")
        yield entry


def _in_any_language(value: Any) -> str:
    if isinstance(value, Mapping):
        value = next(iter(value.values()), "")
    if isinstance(value, list):
        value = value[0] if value else ""
    return str(value or "").strip()
