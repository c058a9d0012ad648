"""A report's figures of tables: marginals and dependence, synthetic against noisy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
from markupsafe import Markup

from fedloom.common.marginals import NoisyMarginals
from fedloom.privacy.release.render import render
from fedloom.privacy.release.report.compare import (
    Dependence,
    Marginal,
    compare_dependence,
    compare_marginals,
)
from fedloom.privacy.release.report.compare_items import compare_items
from fedloom.privacy.release.report.good_for import good_for
from fedloom.privacy.release.report.relations import Relation, relation_tree, strongest_tree
from fedloom.privacy.release.report.svg import heat_map, marginal_chart, scale_bar

__all__ = ["SHOWN_MARGINALS", "table_figures"]

SHOWN_MARGINALS = 20
_LARGE_MAP = 24
_SHOWN_PAIRS, _STRONG = 6, 0.2


def table_figures(frame: pd.DataFrame, statistics: NoisyMarginals, *, secure: bool) -> Markup:
    """Returns the comparison of synthetic rows with the noisy counts.

    Args:
      frame: the synthetic rows.
      statistics: the noisy sums over sites.
      secure: whether the coordinator saw sums over sites alone.
    """
    marginals = compare_marginals(frame, statistics)
    dependence = compare_dependence(frame, statistics)
    sets = {block.name: "number of items" for block in statistics.encoding.sets}
    charts = [_chart(marginal, sets.get(marginal.name)) for marginal in marginals]
    size = 420.0 if len(dependence.names) <= _LARGE_MAP else 540.0
    noisy = None
    if dependence.measured != "none":
        noisy = Markup(_map("noisy statistics", dependence, dependence.noisy, size))
    values = dependence.noisy if dependence.measured == "pairs" else dependence.synthetic
    tree = strongest_tree(dependence.names, values, statistics.encoding.target)
    deviation = statistics.count_std() * math.sqrt(statistics.encoding.num_classes)
    figures = render(
        "table_figures.html",
        secure=secure,
        total=f"{statistics.total():,.0f}",
        total_std=f"{deviation:,.1f}",
        shown=charts[:SHOWN_MARGINALS],
        folded=charts[SHOWN_MARGINALS:],
        table=[_row(marginal, sets.get(marginal.name)) for marginal in marginals],
        items=[_chart(marginal, "items") for marginal in compare_items(frame, statistics)],
        dependence_words=_dependence_words(dependence, statistics.encoding.target),
        heat_synthetic=Markup(_map("synthetic rows", dependence, dependence.synthetic, size)),
        heat_noisy=noisy,
        tree=Markup(relation_tree(tree, title="each column below the one it goes with most")),
        sets=", ".join(sets),
        tree_of_noisy=dependence.measured == "pairs",
        beside=_strong_beside(dependence.names, values, tree),
        scale=Markup(scale_bar(title="scale of Cramér's V, from 0 to 1, of both maps")),
    )
    return good_for(frame, statistics, marginals) + Markup(figures)


def _chart(marginal: Marginal, what: str | None) -> dict[str, Any]:
    return {
        **_row(marginal, what),
        "svg": Markup(
            marginal_chart(
                title=f"shares of {marginal.name}: synthetic rows and noisy marginal",
                labels=marginal.labels,
                synthetic=marginal.synthetic,
                noisy=marginal.noisy,
                errors=marginal.errors,
                ordered=marginal.ordered,
            )
        ),
    }


def _row(marginal: Marginal, what: str | None) -> dict[str, str]:
    """Returns a marginal's texts; `what` says what of a set is counted."""
    ratio = marginal.distance / max(marginal.expected, 1e-12)
    reading = (
        "as noise alone would make it"
        if ratio < 1.3
        else "somewhat more than noise"
        if ratio < 2.5
        else "the generator differs"
    )
    return {
        "name": marginal.name if what is None else f"{marginal.name}: {what}",
        "distance": f"{marginal.distance:.3f}",
        "expected": f"{marginal.expected:.3f}",
        "error": f"{100 * sum(marginal.errors) / len(marginal.errors):.2g}%",
        "reading": reading,
    }


def _map(
    title: str,
    dependence: Dependence,
    values: Sequence[Sequence[float | None]],
    size: float,
) -> str:
    return heat_map(
        title=f"Cramér's V of each pair of columns in the {title}",
        names=dependence.names,
        values=values,
        size=size,
    )


def _strong_beside(
    names: Sequence[str], values: Sequence[Sequence[float | None]], tree: Sequence[Relation]
) -> str:
    """Names the strongest pairs that are not lines of the tree, in words."""
    lines = {frozenset((row.name, tree[row.parent].name)) for row in tree if row.parent >= 0}
    pairs = [
        (values[a][b] or 0.0, names[b], names[a])
        for a in range(len(names))
        for b in range(a)
        if frozenset((names[a], names[b])) not in lines
    ]
    strong = [pair for pair in sorted(pairs, reverse=True)[:_SHOWN_PAIRS] if pair[0] >= _STRONG]
    return ", ".join(f"{one} and {other} ({value:.2f})" for value, one, other in strong)


def _dependence_words(dependence: Dependence, target: str | None) -> str:
    if dependence.measured == "pairs":
        return (
            "On the right, the same from the noisy pair counts: a pale square there says that the "
            "noise would hide a dependence, not that there is none."
        )
    if dependence.measured == "label":
        return (
            f"On the right, the same from the noisy statistics, which hold pairs with the label "
            f"{target} alone; for the other pairs there is nothing to compare with, and their "
            "squares stay empty."
        )
    return (
        "The noisy statistics of this study hold no pairs, so there is nothing to compare with: "
        "the map shows the synthetic rows alone."
    )
