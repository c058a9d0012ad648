"""What a steward has to say before records that do not fit are accepted as they are.

A flag covers the odd value: numbers are clamped to the bounds, what is unknown or unreadable is set
aside, rows without an id are left out. A column of which more would change has to be named, so that
nobody takes a table for readable that is not; and one that is not readable at all is never
accepted, for nothing but noise would stand in its place.
"""

from __future__ import annotations

from collections.abc import Collection

from fedloom.client.column_check import MAX_CHANGED, MAX_UNNAMED, ColumnReport
from fedloom.client.data_check import Report
from fedloom.common.errors import DataError
from fedloom.common.text import normal

__all__ = ["check_acceptance"]


def check_acceptance(
    report: Report,
    *,
    clamp: bool,
    clamp_columns: Collection[str] = (),
    ids_as_written: bool = False,
) -> None:
    """Refuses records that do not fit, as far as the steward did not accept it.

    Args:
      report: What the records hold.
      clamp: Accept every column of which few values do not fit.
      clamp_columns: Accept these, though more do not fit.
      ids_as_written: The steward knows that ids which differ only in how they are written are
        different people.

    Raises:
      DataError: names what does not fit, and what it takes to accept it.
    """
    named = {normal(name) for name in clamp_columns}
    known = {column.name for column in report.columns}
    if not named <= known:
        raise DataError(
            f"--clamp-column {sorted(named - known)[0]}: there is no such column; the table has "
            f"{', '.join(sorted(known))}"
        )
    if report.id_problems and not ids_as_written:
        raise DataError(
            "; ".join(report.id_problems) + ". Who has two ids has no guarantee, so --clamp does "
            "not cover this; if you know that they are different people, approve with "
            "`fedloom site approve --ids-as-written`"
        )
    by_verdict: dict[str, list[ColumnReport]] = {"never": [], "by name": [], "clamp": []}
    for column in report.columns:
        if column.verdict == "never" or (column.verdict != "fits" and column.name not in named):
            by_verdict[column.verdict].append(column)
    if by_verdict["never"]:
        raise DataError(
            f"{_problems(by_verdict['never'])}. {_names(by_verdict['never'])} cannot be read as "
            f"the schema says, or {MAX_CHANGED:.0%} and more of it would change: that is never "
            "accepted, whatever the options"
        )
    if by_verdict["by name"]:
        words = " ".join(f"--clamp-column '{column.name}'" for column in by_verdict["by name"])
        raise DataError(
            f"{_problems(by_verdict['by name'])}. That is more than {MAX_UNNAMED:.0%}, or written "
            f"in another way, so --clamp does not cover it; to accept it as it is all the same, "
            f"name it: {words}"
        )
    in_columns = {text for column in report.columns for text in column.problems}
    rest = [text for text in report.problems if text not in {*in_columns, *report.id_problems}]
    unfit = [*(text for column in by_verdict["clamp"] for text in column.problems), *rest]
    if unfit and not clamp:
        raise DataError(
            "; ".join(unfit) + "; or accept them as they are with --clamp, which clamps "
            "numbers to the bounds, sets unknown values aside and leaves out rows without an id"
        )


def _problems(columns: list[ColumnReport]) -> str:
    return "; ".join(text for column in columns for text in column.problems)


def _names(columns: list[ColumnReport]) -> str:
    return ", ".join(f"'{column.name}'" for column in columns)
