"""The values of a column as effects or groups: categories, exact numbers, or intervals.

Rare cells may have been counted together with others wherever pairs were counted; what was counted
together is one level.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.common.errors import ConfigError
from fedloom.common.text import normal
from fedloom.privacy.inference.counted import CountedTables
from fedloom.privacy.inference.formula import Factor
from fedloom.privacy.inference.sums import Sums
from fedloom.privacy.inference.terms import Term, indicator, number, observed_cells

__all__ = ["cells_of_value", "intervals", "levels", "single_term"]

Array = NDArray[Any]

_MAX_LEVELS = 40
_MAX_NAMED = 3
_FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "log": np.log,
    "log1p": np.log1p,
    "square": np.square,
}


def single_term(tables: CountedTables, factor: Factor) -> Term:
    """Returns the one term of a response or of a covariate that is no list of levels.

    A column of two categories counts as 1 at the second.

    Raises:
      ConfigError: the column holds several categories, or a function has no value on it.
    """
    described = tables.encoding.schema.column(factor.column)
    if factor.form == "equals":
        cells = cells_of_value(tables, factor.column, factor.value or "")
        return indicator(tables, factor.column, cells, f"{factor.column} == {factor.value}")
    if factor.form == "column" and described.kind == "category":
        if len(described.values) != 2:
            raise ConfigError(
                f"column {factor.column!r} holds {len(described.values)} categories; write "
                f'"{factor.column} == VALUE" for one of them'
            )
        return indicator(tables, factor.column, [1], f"{factor.column} == {described.values[1]}")
    plain = number(tables, factor.column)
    if factor.form == "clip":
        low, high = factor.cuts
        return plain.mapped(factor.text, lambda points: np.clip(points, low, high))
    function = _FUNCTIONS.get(factor.form)
    return plain if function is None else plain.mapped(factor.text, function)


def cells_of_value(tables: CountedTables, column: str, value: str) -> list[int]:
    """Returns the cells of a value, as the codebook writes it.

    Raises:
      ConfigError: the column has no such value.
    """
    block, observed = tables.block(column), observed_cells(tables, column)
    labels = [normal(label) for label in block.labels]
    found = [cell for cell, label in enumerate(labels) if label == normal(value)]
    found = [cell for cell in found if observed[cell]]
    if not found:
        known = [label for cell, label in enumerate(block.labels) if observed[cell]]
        raise ConfigError(
            f"column {column!r} has no value {value!r}; it has {', '.join(known[:12])}"
            + (" and more" if len(known) > 12 else "")
        )
    return found


def levels(
    sums: Sums, column: str, others: Sequence[str], cuts: Sequence[float] = ()
) -> list[Term]:
    """Returns an indicator for each level of a column, in the order of its cells.

    Args:
      sums: of the study.
      column: the column.
      others: columns that it is looked at together with.
      cuts: first values of all intervals but the first; none for one level a value.

    Raises:
      ConfigError: there are too many values.
      NotMeasuredError: a pair was not counted.
    """
    tables = sums.tables
    if cuts:
        return intervals(tables, column, cuts)
    block, observed = tables.block(column), observed_cells(tables, column)
    level = np.arange(block.size)
    for other in others:
        level = _joined(level, sums.places(column, other))
    members = [np.flatnonzero(level == one) for one in sorted(set(level.tolist()))]
    # A level that holds observed cells may hold missing ones too: they were counted together.
    members = [cells for cells in members if observed[cells].any()]
    if len(members) > _MAX_LEVELS:
        raise ConfigError(
            f"column {column!r} has {len(members)} values; write cut({column}, 30, 50) with the "
            "places of your choice"
        )
    return [
        indicator(
            tables,
            column,
            cells.tolist(),
            _named([block.labels[cell] for cell in cells if observed[cell]]),
        )
        for cells in members
    ]


def intervals(tables: CountedTables, column: str, cuts: Sequence[float]) -> list[Term]:
    """Returns an indicator for each interval of a column of numbers.

    Raises:
      ConfigError: the column holds no numbers, or a cut lies outside its bounds.
    """
    numbers = number(tables, column)
    seen = numbers.points[numbers.observed > 0]
    ends = [-np.inf, *cuts, np.inf]
    if not seen.min() < cuts[0] or not cuts[-1] <= seen.max():
        raise ConfigError(
            f"the cuts of column {column!r} must lie above its smallest and not above its largest "
            f"counted value; these are {seen.min():g} and {seen.max():g}"
        )
    found = []
    for low, high in zip(ends, ends[1:], strict=False):
        name = f"{low:g} to below {high:g}"
        name = (
            f"below {high:g}" if low == -np.inf else f"{low:g} and more" if high == np.inf else name
        )
        inside = ((numbers.points >= low) & (numbers.points < high)).astype(np.float64)
        found.append(
            Term(
                name=name,
                column=column,
                points=inside * numbers.observed[:, None],
                observed=numbers.observed,
            )
        )
    return found


def _joined(level: Array, places: Array) -> Array:
    """Returns the finest partition of cells of which both are refinements."""
    joined = level.copy()
    for place in np.unique(places):
        together = np.unique(joined[places == place])
        joined[np.isin(joined, together)] = together[0]
    return joined


def _named(labels: Sequence[str]) -> str:
    more = len(labels) - _MAX_NAMED
    shown = " | ".join(labels[:_MAX_NAMED])
    return shown if more <= 0 else f"{shown} and {more} more"
