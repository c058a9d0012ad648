"""`fedloom schema`: holds a table against a public schema, for the steward's eyes alone."""

from __future__ import annotations

import json
from pathlib import Path

import click

__all__ = ["schema"]


@click.group()
def schema() -> None:
    """The public description of a table."""


@schema.command()
@click.argument("schema_file", metavar="SCHEMA", type=click.Path(path_type=Path))
@click.argument("data", metavar="DATA", type=click.Path(path_type=Path))
@click.option("--missing", multiple=True, help="A text that stands for a missing value; repeat.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")
@click.pass_context
def check(
    context: click.Context, schema_file: Path, data: Path, missing: tuple[str, ...], as_json: bool
) -> None:
    """Tells whether the table DATA (CSV or Parquet) fits SCHEMA: exit code 0, otherwise 2.

    What it prints quotes records. It stays on this machine: do not pass it on.
    """
    from fedloom.client.data_check import check as check_table
    from fedloom.client.sources import DEFAULT_MISSING, SourceConfig, load_table
    from fedloom.common.schema import Schema

    description = Schema.load(schema_file)
    source = SourceConfig(path=data, missing=missing or DEFAULT_MISSING)
    report = check_table(load_table(source, description), description, where=str(data))
    if as_json:
        click.echo(json.dumps(report.to_dict() | {"schema_digest": description.digest()}, indent=2))
    else:
        width = max(len(column.name) for column in report.columns)
        click.echo(f"{report.records} records. Private: for the steward alone.")
        click.echo(f"{'column':{width}}  missing  clamped  unknown")
        for column in report.columns:
            click.echo(
                f"{column.name:{width}}  {column.missing:7d}  {column.clamped:7d}  "
                f"{column.unknown:7d}"
            )
        for problem in report.problems:
            click.echo(f"Error: {problem}", err=True)
        if report.fits:
            click.echo("The table fits the schema.")
    context.exit(0 if report.fits else 2)
