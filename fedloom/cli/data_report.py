"""What a table holds against its schema, as the steward sees it; and how to accept it as it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from fedloom.client.data_check import Report

__all__ = ["clamp_options", "print_counts"]

Command = TypeVar("Command", bound=Callable[..., Any])


def clamp_options(command: Command) -> Command:
    """Adds `--clamp` and `--clamp-column`."""
    for option in (
        click.option(
            "--clamp-column",
            "clamp_columns",
            multiple=True,
            metavar="COLUMN",
            help="Accept COLUMN though more of its values are outside the schema; repeat.",
        ),
        click.option(
            "--clamp",
            is_flag=True,
            help="Accept the odd value outside the schema: numbers are clamped, what is unknown or "
            "unreadable is set aside.",
        ),
    ):
        command = option(command)
    return command


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
