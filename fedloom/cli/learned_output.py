"""How a learned schema is shown: one line a column, what was found and from what count on."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fedloom.common.category_codes import MAX_BYTES

if TYPE_CHECKING:
    from fedloom.privacy.plan import Plan

__all__ = ["expected", "learned_summary", "needed_in_words", "print_learned"]

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


def expected(plan: Plan) -> str:
    """Says, before anything is spent, from how many records on a plan finds something."""
    from fedloom.privacy.phases import StatisticPhase
    from fedloom.server.learners.open_columns import detectable

    phase = plan.statistics[0]
    assert isinstance(phase, StatisticPhase)
    sites = len(plan.sites)
    parts = sites if plan.colluding is None else sites / (sites - plan.colluding)
    std = phase.noise_std * math.sqrt(parts)
    lines = []
    for column in plan.discovery.columns:
        needed = {str(key): count for key, count in detectable(column, std).items()}
        lines.append(f"{column.column.name}: from {needed_in_words(needed)}")
    return "; ".join(lines)


def print_learned(summary: dict[str, Any]) -> None:
    """Prints the table of columns, the price, and where the schema lies."""
    console = Console()
    table = Table(box=None, pad_edge=False)
    for heading in ("column", "found", "found from", "about", "missing", "share"):
        table.add_column(heading, overflow="fold")
    for entry in summary["columns"]:
        table.add_row(
            entry["column"],
            _found(entry),
            needed_in_words(entry["needed"]),
            f"{max(0.0, entry['records']):,.0f}",
            f"{max(0.0, entry['missing']):,.0f}",
            f"{entry['share']:.0%}",
        )
    console.print(table)
    lines = [
        "Counts are noisy. `found from`: a category alone in its bucket is found 19 times of 20 "
        f"from so many records on, the more the longer its text (up to {MAX_BYTES} bytes); a bound "
        "reaches as far as so many records lie close together. `share`: of the study's squared "
        "sensitivity; the fewer columns are open, the fewer records are needed.",
        f"price: epsilon {summary['epsilon']:.4g} at delta {summary['delta']:g} for one unit, in "
        f"the ledgers of {len(summary['sites'])} sites",
    ]
    left_out = [entry["column"] for entry in summary["columns"] if not entry["complete"]]
    if left_out:
        lines.append(f"left out of the schema, as nothing was found: {', '.join(left_out)}")
    if summary["schema"] is None:
        lines.append(
            "no schema: nothing stands out of the noise; take a larger epsilon, leave fewer "
            "columns open, or fill in public numbers and categories"
        )
    else:
        lines.append(f"schema, to look through: {summary['schema']}")
    for line in lines:
        console.print(escape(line), highlight=False, soft_wrap=True)


def _found(entry: dict[str, Any]) -> str:
    common = sorted(entry["values"], key=lambda text: -entry["values"][text])
    if not common:
        return escape(entry["found"])
    more = f" and {len(common) - _SHOWN} more" if len(common) > _SHOWN else ""
    return escape(f"{entry['found']}: {', '.join(common[:_SHOWN])}{more}")
