"""How a learned schema is shown: one line a column, what was found and from what count on."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from fedloom.common.spelling import MAX_BYTES

__all__ = ["learned_summary", "needed_in_words", "print_learned"]

_SHOWN = 8


def learned_summary(folder: Any) -> dict[str, Any]:
    """Returns what the run folder of a study of kind "schema" holds, as JSON-able values."""
    from fedloom.server.learned_schema import SCHEMA, LearnedSchema

    learned = LearnedSchema.load(folder)
    schema = learned.schema
    return {
        "schema": None if schema is None else str(folder / SCHEMA),
        "schema_digest": None if schema is None else schema.digest(),
        "columns": list(learned.findings),
    }


def needed_in_words(needed: dict[str, int]) -> str:
    """Says from how many records on a value is found.

    >>> needed_in_words({"0": 40})
    'a stretch of 40 records'
    >>> needed_in_words({"4": 72, "8": 103})
    '72 to 103 records, by length'
    """
    if "0" in needed:
        return f"a stretch of {needed['0']:,} records"
    counts = [needed[key] for key in sorted(needed, key=int)]
    return f"{counts[0]:,} to {counts[-1]:,} records, by length"


def print_learned(summary: dict[str, Any]) -> None:
    """Prints the table of columns."""
    table = Table(box=None, pad_edge=False)
    for heading in ("column", "found", "found from", "about", "missing", "share"):
        table.add_column(heading, overflow="fold")
    for entry in summary["columns"]:
        found = entry["found"]
        if entry["values"]:
            common = sorted(entry["values"], key=lambda text: -entry["values"][text])[:_SHOWN]
            more = len(entry["values"]) - len(common)
            found += ": " + ", ".join(common) + (f" and {more} more" if more else "")
        table.add_row(
            entry["column"],
            found,
            needed_in_words(entry["needed"]),
            f"{max(0.0, entry['records']):,.0f}",
            f"{max(0.0, entry['missing']):,.0f}",
            f"{entry['share']:.0%}",
        )
    Console().print(table)
    notes = (
        "Counts are noisy. `found from`: a category alone in its bucket is found 19 times of 20 "
        f"from so many records on, the more the longer its text (up to {MAX_BYTES} bytes); a bound "
        "reaches as far as so many records lie close together. `share`: of the study's squared "
        "sensitivity, so fewer open columns are found from fewer records on."
    )
    Console().print(notes, soft_wrap=False, highlight=False)
