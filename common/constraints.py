"""Which records break which constraint of a schema.

A constraint holds in a record in which any of its columns has no value: it is missing, or cannot be
read. Numbers compare as they stand, special values too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fedloom.common.cells import read_categories, read_numbers
from fedloom.common.column import Column
from fedloom.common.schema import Schema
from fedloom.common.schema_constraint import Constraint

__all__ = [
    "Comparable",
    "applies",
    "breaks",
    "combination_ids",
    "combination_table",
    "violations",
]

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]
# A column as numbers to compare (N,), and where it has no value. A category is its place in the
# schema's list, `other` coming after the last.
Comparable = tuple[Array, Mask]


def violations(private_frame: pd.DataFrame, schema: Schema) -> dict[str, int]:
    """Counts the records that break each constraint. The counts are private: for the steward alone.

    Args:
      private_frame: A table with the schema's columns.
      schema: The public schema.

    Returns:
      By the constraint's name, such as "admitted <= discharged", the number of records.
    """

    def column(name: str) -> Comparable:
        return _comparable(schema.column(name), private_frame[name])

    return {
        constraint.name: int(breaks(constraint, schema, column).sum())
        for constraint in schema.constraints
    }


def breaks(constraint: Constraint, schema: Schema, column: Callable[[str], Comparable]) -> Mask:
    """Tells which records (N,) break a constraint.

    Args:
      constraint: One of the schema's.
      schema: The public schema.
      column: Gives the column of a name.
    """
    columns = [column(name) for name in constraint.columns]
    held = ~applies(columns)
    if constraint.kind == "order":
        risen = np.ones(len(held), dtype=bool)
        for (below, _), (above, _) in zip(columns, columns[1:], strict=False):
            risen &= below < above if constraint.strict else below <= above
        return ~(held | risen)
    found = combination_ids(constraint, schema, [values for values, _ in columns])
    return ~(held | (found >= 0))


def applies(columns: list[Comparable]) -> Mask:
    """Tells which records (N,) have a value in each of the columns."""
    some = np.zeros(len(columns[0][0]), dtype=bool)
    for _, missing in columns:
        some |= missing
    return ~some


def combination_ids(constraint: Constraint, schema: Schema, columns: list[Array]) -> Array:
    """Returns which of a constraint's rows each record (N,) has in its columns; -1 if none."""
    rows = np.array(combination_table(constraint, schema), dtype=np.float64)
    known = np.zeros(len(rows), dtype=np.int64)
    found = np.zeros(len(columns[0]), dtype=np.int64)
    for position, values in enumerate(columns):
        wanted = np.unique(rows[:, position])
        places = np.searchsorted(wanted, values).clip(0, len(wanted) - 1)
        present = (wanted[places] == values) & (found >= 0)
        pairs = known * len(wanted) + np.searchsorted(wanted, rows[:, position])
        distinct, known = np.unique(pairs, return_inverse=True)
        pairs = np.where(present, found * len(wanted) + places, -1)
        at = np.searchsorted(distinct, pairs).clip(0, len(distinct) - 1)
        found = np.where(distinct[at] == pairs, at, -1)
    row_of = np.empty(len(rows), dtype=np.int64)
    row_of[known] = np.arange(len(rows))
    return np.where(found >= 0, row_of[found], -1)


def combination_table(constraint: Constraint, schema: Schema) -> list[list[int]]:
    """Returns a constraint's rows as numbers to compare; see `Comparable`."""
    members = [schema.column(name) for name in constraint.columns]
    places = [
        {value: i for i, value in enumerate((*column.values, column.other))} for column in members
    ]
    return [
        [
            value if isinstance(value, int) else place[value]
            for value, place in zip(row, places, strict=True)
        ]
        for row in constraint.rows
    ]


def _comparable(column: Column, raw: pd.Series) -> Comparable:
    if column.kind != "category":
        cells = read_numbers(column, raw)
        return cells.values, cells.missing | cells.unreadable
    cells = read_categories(column, raw)
    if column.other is None:
        return cells.values, cells.missing | cells.unreadable
    return np.where(cells.unreadable, len(column.values), cells.values), cells.missing
