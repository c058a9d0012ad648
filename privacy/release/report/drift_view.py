"""The report's table of drift: which columns have moved away from the earlier release, if any.

What is compared and tested is said in `fedloom.privacy.drift`; this puts it into words and digits.
Post-processing of opened sums of both releases.
"""

from __future__ import annotations

from typing import Any

from fedloom.privacy.drift.result import LEVEL, ColumnDrift, Drift

__all__ = ["drift_view"]


def drift_view(found: Drift) -> dict[str, Any]:
    """Returns what the report's template shows of a comparison with an earlier release."""
    new, old = (f"{count:,.0f}" for count in found.records)
    return {
        "columns": [_row(one) for one in found.columns],
        "drifted": len(found.drifted),
        "drowned": sum(one.verdict == "drowned by noise" for one in found.columns),
        "count": len(found.columns),
        "not_compared": list(found.not_compared),
        "new": new,
        "old": old,
        "level": f"{100 * LEVEL:g}%",
    }


def _row(one: ColumnDrift) -> dict[str, str]:
    told = one.distance
    numbers = ("value", "by_chance", "std_error")
    shown = {name: "hidden" if told is None else f"{getattr(told, name):.3f}" for name in numbers}
    p_value = "" if told is None else f"{told.p_value:.2g}"
    return {"name": one.column, "verdict": one.verdict, "p_value": p_value, **shown}
