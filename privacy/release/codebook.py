"""The codebook: what each column of a release means, from the public schema alone."""

from __future__ import annotations

from typing import Any

from fedloom.common.encoding import Block, Encoding
from fedloom.common.schema import Column
from fedloom.privacy.release.marginals import MARGINALS, MARGINALS_COLUMNS
from fedloom.privacy.release.render import render

__all__ = ["codebook", "codebook_text"]

CODEBOOK_FORMAT = "fedloom-codebook/2"
_LISTED = 24


def codebook(encoding: Encoding) -> dict[str, Any]:
    """Describes every column, as JSON-able values.

    Args:
      encoding: the public encoding that the generator was trained with.
    """
    return {
        "format": CODEBOOK_FORMAT,
        "target": encoding.target,
        "columns": [_entry(encoding.schema.column(block.name), block) for block in encoding.blocks],
        "constraints": [rule.to_dict() for rule in encoding.schema.constraints],
        "marginals": {"path": MARGINALS, "columns": MARGINALS_COLUMNS},
    }


def codebook_text(encoding: Encoding) -> str:
    """Describes every column as Markdown, for people."""
    return render(
        "codebook.md",
        book=codebook(encoding),
        rules=[rule.name for rule in encoding.schema.constraints],
        learned=encoding.schema.learned,
        listed=_LISTED,
    )


def _entry(column: Column, block: Block) -> dict[str, Any]:
    plain = column.to_dict()
    entry: dict[str, Any] = {
        "name": column.name,
        "kind": column.kind,
        "description": column.description,
        "missing": column.nullable,
    }
    if column.kind == "category":
        return {**entry, "values": list(column.values), "other": column.other}
    if column.kind == "set":
        most, mark = column.maximum, column.separator
        return {**entry, "values": list(column.values), "max_items": most, "separator": mark}
    return {
        **entry,
        "min": plain["min"],
        "max": plain["max"],
        "special": plain.get("special", []),
        "bins": block.num_bins,
        "scale": column.scale,
    }
