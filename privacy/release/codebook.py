"""The codebook: what each column of a release means, from the public schema alone."""

from __future__ import annotations

from typing import Any

from fedloom.common.encoding import Block, Encoding
from fedloom.common.schema import Column
from fedloom.privacy.release.marginals import MARGINALS, MARGINALS_COLUMNS
from fedloom.privacy.release.markdown import code_span, plain_text

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
    lines = [
        "# Codebook",
        "",
        _origin(encoding),
        "Missing values are empty cells in `data/synthetic.csv` and nulls in "
        "`data/synthetic.parquet`. A number within a bin of the grid is spread evenly over the "
        "bin: finer detail carries no information.",
        "",
    ]
    for entry in codebook(encoding)["columns"]:
        target = " (the label)" if entry["name"] == encoding.target else ""
        lines += [f"## {plain_text(entry['name'])}{target}", ""]
        if entry["description"]:
            lines += [plain_text(entry["description"]), ""]
        lines.append(f"- kind: {entry['kind']}")
        if "values" in entry:
            values = entry["values"]
            more = f" and {len(values) - _LISTED} more" if len(values) > _LISTED else ""
            lines.append("- values: " + ", ".join(code_span(v) for v in values[:_LISTED]) + more)
            if entry["other"] is not None:
                lines.append(f"- any other value stands as {code_span(entry['other'])}")
        else:
            lines.append(f"- from {entry['min']} to {entry['max']}, grid of {entry['bins']} bins")
            if entry["special"]:
                exact = ", ".join(code_span(value) for value in entry["special"])
                lines.append(f"- values that stand apart and are exact: {exact}")
        lines += [f"- missing values: {'yes' if entry['missing'] else 'none'}", ""]
    if encoding.schema.constraints:
        lines += ["## What holds in every row", ""]
        lines += [f"- {plain_text(rule.name)}" for rule in encoding.schema.constraints]
        lines += ["", "A constraint holds where one of its columns is missing.", ""]
    lines += [
        "## Noisy counts",
        "",
        f"`{MARGINALS}` holds the counts that the sites answered with, one a row, as they came: "
        "unbiased, each with Gaussian noise of its own, and not made to add up. A count plus and "
        "minus 1.96 `std` holds the true one with a chance of 95%; a sum of k counts has `std` "
        "times the square root of k. Counted are the records of the sites, held-back ones left "
        "out.",
        "",
        *(f"- `{name}`: {meaning}" for name, meaning in MARGINALS_COLUMNS.items()),
        "",
    ]
    return "\n".join(lines)


def _origin(encoding: Encoding) -> str:
    learned = encoding.schema.learned
    if not learned:
        return "Written from the study's public schema; nothing here was learned from records."
    names = ", ".join(code_span(name) for origin in learned for name in origin.columns)
    prices = " and ".join(f"{origin.epsilon:.4g} at delta {origin.delta:g}" for origin in learned)
    return (
        f"Written from the study's schema. Bounds or categories of {names} were learned from "
        f"records by an earlier study, for epsilon {prices} beside this study's own."
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
    return {
        **entry,
        "min": plain["min"],
        "max": plain["max"],
        "special": plain.get("special", []),
        "bins": block.num_bins,
        "scale": column.scale,
    }
