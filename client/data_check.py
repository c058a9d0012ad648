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

from fedloom.client.column_check import ColumnReport, check_column
from fedloom.client.persons import person_ids
from fedloom.common.cells import category_key
from fedloom.common.constraints import violations
from fedloom.common.schema import Schema
from fedloom.common.text import normal

__all__ = ["PersonsReport", "Report", "check"]

_CAPS = (1, 2, 3, 5, 10)


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
                    "left_out": column.left_out,
                    "misfits": column.misfits,
                    "share": column.share,
                    "verdict": column.verdict,
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
    id_column = None if id_column is None else normal(id_column)
    problems = []
    columns: list[ColumnReport] = []
    id_problems: list[str] = []
    persons = None
    if private_frame.empty:
        problems.append(f"{where}: the table has no records; give a table with at least one")
    for column in schema.columns:
        if column.name not in private_frame.columns:
            report = _absent(column.name, "add it, or remove it from the schema")
        else:
            report = check_column(column, private_frame[column.name])
        columns.append(report)
    if id_column is not None and id_column not in private_frame.columns:
        columns.append(_absent(id_column, "add it: it says whose row each is"))
    elif id_column is not None:
        ids = person_ids(private_frame[id_column])
        columns.append(_check_ids(id_column, ids))
        persons = _persons(ids)
        id_problems = [f"{where}: column '{id_column}': {text}" for text in _alike(ids)]
    columns = [report.at(where) for report in columns]
    problems += [text for report in columns for text in report.problems]
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
    return ColumnReport(name=name, unsafe=True, problems=(f"the table lacks it; {remedy}",))


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
    return ColumnReport(
        name=name,
        missing=missing,
        left_out=missing,
        misfits=missing,
        values=len(ids),
        problems=(text,) if missing else (),
    )


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
