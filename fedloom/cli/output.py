"""What a command prints: results on standard output, everything else on standard error.

So a result can be piped or parsed while progress and errors stay visible.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from fedloom.common.event_log import event, is_served

if TYPE_CHECKING:
    from fedloom.client.data_check import Report

__all__ = ["print_counts", "print_error", "print_json"]


def print_json(value: Any) -> None:
    """Prints a result as JSON on standard output.

    Raises:
      ValueError: a number in it is not finite, which JSON cannot say.
    """
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def print_error(text: str, *, code: str, exit_code: int, as_json: bool) -> None:
    """Prints an error for people on standard error and, on request, as JSON for machines.

    A program whose whole output is a log logs the error's code, and its text if the error is one
    of fedloom's own: any other may quote what it was given.
    """
    if is_served():
        detail = text if exit_code > 1 else None
        event("ended", level="error", code=code, exit_code=exit_code, detail=detail)
        return
    click.echo(text, err=True)
    if as_json:
        error = text.removeprefix("Error: ")
        print_json({"error": error, "code": code, "exit_code": exit_code})


def print_counts(report: Report) -> None:
    """Prints what each column holds. Private: for the steward at his own terminal."""
    width = max(len("column"), *(len(column.name) for column in report.columns))
    click.echo(f"{report.records} records. Private: for the steward alone.")
    click.echo(f"{'column':{width}}  missing  clamped  unknown  left out  do not fit")
    for column in report.columns:
        click.echo(
            f"{column.name:{width}}  {column.missing:7d}  {column.clamped:7d}  "
            f"{column.unknown:7d}  {column.left_out:8d}  {column.share:10.1%}"
        )
    if report.persons is not None:
        kept = ", ".join(f"{cap}: {share:.0%}" for cap, share in report.persons.kept.items())
        click.echo(
            f"{report.persons.persons} persons, at most {report.persons.most} rows of one; "
            f"rows that rows_per_person leaves: {kept}"
        )
