"""The report's page on what a table is good for: verdicts, leaks, gaps and expected errors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pandas as pd
from markupsafe import Markup

from fedloom.common.marginals import NoisyMarginals
from fedloom.privacy.inference.expected import PlannedNoise, precision_table
from fedloom.privacy.release.render import render
from fedloom.privacy.release.report.compare import Marginal
from fedloom.privacy.release.report.verdict_map import verdict_map
from fedloom.privacy.release.report.verdicts import (
    LEVELS,
    Verdict,
    column_verdicts,
    leaks,
    pair_verdicts,
)

__all__ = ["good_for"]

_SHOWN = 8
# A share that may be off by so much says nothing.
_NOTHING = 0.5


def good_for(
    frame: pd.DataFrame, statistics: NoisyMarginals, marginals: Sequence[Marginal]
) -> Markup:
    """Returns the page.

    Args:
      frame: the synthetic rows.
      statistics: the noisy sums over sites.
      marginals: the comparison of each column.
    """
    columns = column_verdicts(marginals, len(frame), statistics)
    pairs = pair_verdicts(frame, statistics)
    levels = {(one.names[0], one.names[-1]): one.level for one in (*columns, *pairs)}
    encoding = statistics.encoding
    noise = PlannedNoise.of_sums(statistics)
    page = render(
        "good_for.html",
        target=encoding.target,
        column_counts=_counts(columns),
        pair_counts=_counts(pairs),
        leaks=[
            {
                "name": leak.column,
                "right": f"{100 * leak.right:.1f}",
                "base": f"{100 * leak.base:.0f}",
            }
            for leak in leaks(statistics)
        ],
        gaps=[
            {"name": verdict.names[0], "flag": flag}
            for verdict in columns
            for flag in verdict.flags
        ],
        columns=[_row(verdict) for verdict in columns],
        pairs=[_row(verdict) for verdict in pairs],
        shown=_SHOWN,
        map=Markup(
            verdict_map(
                encoding.schema.names,
                levels,
                title="verdict on each column and each pair of columns",
            )
        ),
        precision=[
            {
                "size": f"{row.size:,}",
                "label": _points(row.label),
                "other": _points(row.other),
            }
            for row in precision_table(noise, statistics.total())
        ],
    )
    return Markup(page)


def _counts(verdicts: Sequence[Verdict]) -> list[tuple[str, int]]:
    found = Counter(verdict.level for verdict in verdicts)
    return [(level, found[level]) for level in LEVELS]


def _points(error: float | None) -> str:
    if error is None:
        return "not counted"
    return f"{100 * error:.2g} points" if error < _NOTHING else "drowned"


def _row(verdict: Verdict) -> dict[str, Any]:
    return {
        "name": " × ".join(verdict.names),
        "level": verdict.level,
        "distance": f"{verdict.distance:.3f}",
        "expected": f"{verdict.expected:.3f}",
        "flags": ", ".join(verdict.flags),
    }
