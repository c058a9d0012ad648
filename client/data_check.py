"""Holds a site's records against the schema, for the steward's eyes alone.

A report counts and quotes what does not fit. It is made at `schema check` and at approval,
where it costs no privacy because it stays at the site; during a run the vault answers whatever
the records hold.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fedloom.client.persons import person_ids
from fedloom.common.cells import (
    Cells,
    axis_value,
    category_key,
    cell_text,
    read_categories,
    read_numbers,
)
from fedloom.common.constraints import violations
from fedloom.common.schema import Column, Schema

__all__ = ["ColumnReport", "PersonsReport", "Report", "check"]

_MAX_EXAMPLES = 5
_MAX_LENGTH = 40
_CAPS = (1, 2, 3, 5, 10)


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnReport:
    """What one column holds. All counts are private.

    Attributes:
      name: The column.
      missing: Missing values.
      clamped: Numbers outside the bounds, or with a fraction in an integer column.
      unknown: Values that cannot be read or are none of the categories.
      problems: One message for each thing that does not fit, naming column and remedy.
    """

    name: str
    missing: int
    clamped: int
    unknown: int
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonsReport:
    """How rows spread over persons. Private: for the steward alone.

    Attributes:
      persons: How many ids there are.
      most: The most rows of one person.
      kept: By `rows_per_person`, the share of rows that such a cap leaves.
    """

    persons: int
    most: int
    kept: dict[int, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a table holds, against its schema. Private: for the steward alone.

    Attributes:
      records: How many rows there are.
      columns: What each column holds.
      problems: One message for each thing that does not fit.
      id_problems: Those of them that put one person under several ids, which voids the guarantee
        for that person; clamping is no answer to them.
      persons: How rows spread over persons, if the unit of privacy is a person.
    """

    records: int
    columns: tuple[ColumnReport, ...]
    problems: tuple[str, ...]
    id_problems: tuple[str, ...] = ()
    persons: PersonsReport | None = None

    @property
    def fits(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """Returns the report as JSON-able values."""
        return {
            "fits": self.fits,
            "records": self.records,
            "problems": list(self.problems),
            "persons": None if self.persons is None else asdict(self.persons),
            "columns": [
                {
                    "name": column.name,
                    "missing": column.missing,
                    "clamped": column.clamped,
                    "unknown": column.unknown,
                }
                for column in self.columns
            ],
        }


def check(
    private_frame: pd.DataFrame,
    schema: Schema,
    *,
    where: str = "the table",
    id_column: str | None = None,
) -> Report:
    """Compares a table with its schema.

    Args:
      private_frame: As of `load_table`.
      schema: The public schema.
      where: Name of the table, for the messages.
      id_column: The column of the persons' ids, if the unit of privacy is a person.
    """
    problems = []
    columns = []
    id_problems: list[str] = []
    persons = None
    if private_frame.empty:
        problems.append(f"{where}: the table has no records; give a table with at least one")
    for column in schema.columns:
        if column.name not in private_frame.columns:
            report = _absent(column.name, "add it, or remove it from the schema")
        elif column.kind == "category":
            report = _check_category(column, private_frame[column.name])
        else:
            report = _check_number(column, private_frame[column.name])
        columns.append(report)
    if id_column is not None and id_column not in private_frame.columns:
        columns.append(_absent(id_column, "add it: it says whose row each is"))
    elif id_column is not None:
        ids = person_ids(private_frame[id_column])
        columns.append(_check_ids(id_column, ids))
        persons = _persons(ids)
        id_problems = [f"{where}: column '{id_column}': {text}" for text in _alike(ids)]
    for report in columns:
        problems += [f"{where}: column '{report.name}': {text}" for text in report.problems]
    if set(schema.names) <= set(private_frame.columns):
        problems += [
            f"{where}: {count} records break {constraint}; correct the records, or take the "
            "constraint out of the schema"
            for constraint, count in violations(private_frame, schema).items()
            if count
        ]
    problems += id_problems
    return Report(
        records=len(private_frame),
        columns=tuple(columns),
        problems=tuple(problems),
        id_problems=tuple(id_problems),
        persons=persons,
    )


def _absent(name: str, remedy: str) -> ColumnReport:
    text = f"the table lacks it; {remedy}"
    return ColumnReport(name=name, missing=0, clamped=0, unknown=0, problems=(text,))


def _persons(ids: npt.NDArray[np.object_]) -> PersonsReport:
    rows = np.unique(pd.factorize(ids)[0], return_counts=True)
    counts = rows[1][rows[0] >= 0]
    total = max(int(counts.sum()), 1)
    kept = {cap: float(np.minimum(counts, cap).sum()) / total for cap in _CAPS}
    return PersonsReport(persons=len(counts), most=int(counts.max(initial=0)), kept=kept)


def _check_ids(name: str, ids: npt.NDArray[np.object_]) -> ColumnReport:
    """Looks for rows that are nobody's, which are left out."""
    missing = int(pd.isna(ids).sum())
    text = f"{missing} rows have no id, and could be anyone's; complete them, or leave them out"
    problems = (text,) if missing else ()
    return ColumnReport(name=name, missing=missing, clamped=0, unknown=0, problems=problems)


def _alike(ids: npt.NDArray[np.object_]) -> list[str]:
    """Looks for one person under two ids: the guarantee is for all rows of one id."""
    written: dict[str, str] = {}
    alike = [
        f"{written[key]!r} and {text!r}"
        for text in dict.fromkeys(ids[pd.notna(ids)])
        if written.setdefault(key := category_key(text).casefold(), text) != text
    ]
    if not alike:
        return []
    return [
        f"{len(alike)} ids differ from another only in how they are written, such as "
        f"{alike[0]}, and count as two persons; write each person's id in one way"
    ]


def _check_category(column: Column, raw: pd.Series) -> ColumnReport:
    cells = read_categories(column, raw)
    problems = _missing_problem(column, cells)
    unknown = 0 if column.open else int(cells.unreadable.sum())
    if unknown and column.other is None:
        problems.append(
            f"{unknown} values are none of the {len(column.values)} categories, such as "
            f"{_examples(raw[cells.unreadable])}; add them to values in the schema, correct the "
            'records, or give the column other = "..."'
        )
    return _report(column, cells, 0, problems)


def _check_number(column: Column, raw: pd.Series) -> ColumnReport:
    cells = read_numbers(column, raw)
    problems = _missing_problem(column, cells)
    unreadable = int(cells.unreadable.sum())
    if unreadable:
        what = "ISO times" if column.kind == "datetime" else "numbers"
        problems.append(
            f"{unreadable} values are not {what}, such as {_examples(raw[cells.unreadable])}; "
            "correct the records, or declare the text that stands for a missing value"
        )
    readable = ~(cells.missing | cells.unreadable)
    outside = _outside(column, cells) & readable
    if outside.any():
        problems.append(
            f"{int(outside.sum())} values lie outside {column.minimum} to {column.maximum}, "
            f"such as {_examples(raw[outside])}; widen min and max in the schema, list codes under "
            "special, or correct the records"
        )
    rounded = cells.rounded & readable
    if rounded.any():
        problems.append(
            f"{int(rounded.sum())} values are not whole numbers, such as "
            f"{_examples(raw[rounded])}; use kind 'real' in the schema or round the records"
        )
    return _report(column, cells, int((outside | rounded).sum()), problems)


def _outside(column: Column, cells: Cells) -> npt.NDArray[np.bool_]:
    if column.minimum is None or column.maximum is None:  # an open column has no bounds yet
        return np.zeros(len(cells.values), dtype=bool)
    low = axis_value(column.minimum, dates_only=column.dates_only)
    high = axis_value(column.maximum, dates_only=column.dates_only)
    special = [axis_value(value, dates_only=column.dates_only) for value in column.special]
    return ((cells.values < low) | (cells.values > high)) & ~np.isin(cells.values, special)


def _missing_problem(column: Column, cells: Cells) -> list[str]:
    missing = int(cells.missing.sum())
    if not missing or column.nullable or column.open:
        return []
    return [
        f"{missing} values are missing; set nullable = true in the schema, or complete the records"
    ]


def _report(column: Column, cells: Cells, clamped: int, problems: list[str]) -> ColumnReport:
    return ColumnReport(
        name=column.name,
        missing=int(cells.missing.sum()),
        clamped=clamped,
        unknown=0 if column.open and column.kind == "category" else int(cells.unreadable.sum()),
        problems=tuple(problems),
    )


def _examples(raw: pd.Series) -> str:
    texts = list(dict.fromkeys(cell_text(value)[:_MAX_LENGTH] for value in raw))
    shown = ", ".join(repr(text) for text in texts[:_MAX_EXAMPLES])
    rest = len(texts) - _MAX_EXAMPLES
    return f"{shown} and {rest} more" if rest > 0 else shown
