"""What the report says about held-back units: figures with error bars, in words and charts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from fedloom.privacy.release.report.svg import marginal_chart

__all__ = ["held_back_view"]

_SHOWN_QUESTIONS = 6
_RUNS = ("lowest scores", "low", "high", "highest scores")


def held_back_view(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what the template shows of an evaluation.

    Args:
      figures: as `fedloom.privacy.held_back.figures_of` returns them.
    """
    questions, columns = figures["questions"], figures["columns"]
    records = figures["records"]
    apart = [column for column in columns if _excess(column) > 2.0]
    return {
        "records": f"{records['estimate']:,.0f}",
        "records_std": f"{records['std']:,.0f}",
        "faint": records["estimate"] < 5 * records["std"],
        "questions": [_question(question) for question in questions],
        "charts": [_chart(question) for question in questions[:_SHOWN_QUESTIONS]],
        "columns": [_column(column) for column in sorted(columns, key=_excess, reverse=True)],
        "num_apart": len(apart),
        "num_columns": len(columns),
        "smallest": _smallest(columns),
    }


def _question(question: Mapping[str, Any]) -> dict[str, str]:
    held_back, synthetic = question["held_back"], question["synthetic"]
    return {
        "words": _words(question),
        "held_back": "hidden by the noise" if held_back["hidden"] else _area(held_back),
        "synthetic": _area(synthetic),
        "accuracy": _accuracy(question["accuracy"]),
        "reading": _reading(held_back, synthetic),
    }


def _words(question: Mapping[str, Any]) -> str:
    asks, against = question["asks_for"], question["against"]
    first = asks[0] if len(asks) == 1 else f"{asks[0]} and above"
    if len(asks) == len(against) == 1:
        return f"{first} or {against[0]}"
    return f"{first} or not"


def _area(area: Mapping[str, Any]) -> str:
    return f"{area['auc']:.3f} ± {2 * area['std']:.3f}"


def _accuracy(accuracy: Mapping[str, Any]) -> str:
    if accuracy["hidden"]:
        return "hidden by the noise"
    return f"{100 * accuracy['share']:.1f}% ± {200 * accuracy['std']:.1f}"


def _reading(held_back: Mapping[str, Any], synthetic: Mapping[str, Any]) -> str:
    if held_back["hidden"]:
        return "too few records for this noise: nothing can be said"
    gap = held_back["auc"] - synthetic["auc"]
    spread = 2 * math.hypot(held_back["std"], synthetic["std"])
    if abs(gap) <= spread:
        return f"no difference that an error bar of {spread:.3f} would show"
    return "held-back records are " + (
        "harder to tell apart than synthetic rows"
        if gap < 0
        else "easier to tell apart than synthetic rows"
    )


def _chart(question: Mapping[str, Any]) -> dict[str, Any]:
    runs = question["calibration"]
    return {
        "name": _words(question),
        "svg": Markup(
            marginal_chart(
                title=f"share of {_words(question)} by score: synthetic rows, held-back records",
                labels=_RUNS,
                synthetic=[run["synthetic"] for run in runs],
                noisy=[run["held_back"] for run in runs],
                errors=[run["std"] for run in runs],
                ordered=0,
            )
        ),
    }


def _column(column: Mapping[str, Any]) -> dict[str, str]:
    excess = _excess(column)
    return {
        "name": str(column["name"]),
        "distance": f"{column['distance']:.3f}",
        "expected": f"{column['expected']:.3f} ± {2 * column['std']:.3f}",
        "reading": "as noise alone would make it" if excess <= 2.0 else "the synthetic rows differ",
    }


def _excess(column: Mapping[str, Any]) -> float:
    """How many standard deviations a distance lies above what noise alone would make."""
    return float((column["distance"] - column["expected"]) / max(column["std"], 1e-12))


def _smallest(columns: list[Mapping[str, Any]]) -> str:
    """Says which differences half the columns could not show; no distance is above 1."""
    visible = sorted(column["expected"] + 2 * column["std"] for column in columns)
    smallest = float(visible[len(visible) // 2])
    if smallest >= 1.0:
        return "no difference at all, however large,"
    return f"no difference below {smallest:.2f} (total variation)"
