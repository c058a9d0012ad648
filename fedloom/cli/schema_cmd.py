"""`fedloom schema`: holds a table against a schema, and has a study complete an open one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fedloom.cli.command_audit import note_command
from fedloom.cli.options import clamp_options, name_value_pairs
from fedloom.cli.output import print_counts
from fedloom.cli.progress import RunProgress
from fedloom.cli.schema_draft import draft
from fedloom.cli.source_options import site_source_options, site_sources, source_options
from fedloom.common.errors import ConfigError, DataError, StudyError

if TYPE_CHECKING:
    from fedloom.client.data_check import Report
    from fedloom.client.sources import Source
    from fedloom.common.schema import Schema

__all__ = ["schema"]


@click.group()
def schema() -> None:
    """The public description of a table."""


schema.add_command(draft)


@schema.command()
@click.argument("schema_file", metavar="SCHEMA", type=click.Path(path_type=Path))
@click.argument("data", metavar="[DATA]", required=False, type=click.Path(path_type=Path))
@click.option(
    "--home",
    type=click.Path(path_type=Path),
    metavar="HOME",
    help="In place of DATA: a site's home, whose site.toml says where the records are.",
)
@click.option("--id", "id_column", metavar="COLUMN", help="The column that tells persons apart.")
@clamp_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")
@source_options
@click.pass_context
def check(
    context: click.Context,
    schema_file: Path,
    data: Path | None,
    home: Path | None,
    id_column: str | None,
    clamp: bool,
    clamp_columns: tuple[str, ...],
    as_json: bool,
    dialect: dict[str, Any],
) -> None:
    """Tells whether the table DATA (CSV, Excel or Parquet) fits SCHEMA: exit code 0, otherwise 2.

    SCHEMA is a schema.toml, or a plan.json: then its schema, and the column of its persons' ids.
    With --home HOME the records are read as HOME/site.toml says; options that say how they are
    written stand in place of those there. Keys and ledger of the home are not opened.

    With --clamp and --clamp-column the code is 0 also where an approval with these options would
    accept the table as it is.

    What it prints quotes records. It stays on this machine: do not pass it on.
    """
    source, home_id = _records(data, home, dialect)
    description, id_column = _description(schema_file, id_column, home_id)
    kind = description.kind
    private_frame = kind.load(source, description, id_column=id_column)
    report = kind.report(private_frame, description, where=source.where, id_column=id_column)
    refusals = _refusals(report, clamp, clamp_columns)
    if as_json:
        more = {"accepted": not refusals, "schema_digest": description.digest()}
        click.echo(json.dumps(report.to_dict() | more, indent=2))
    else:
        print_counts(report)
        for refusal in refusals:
            click.echo(f"Error: {refusal}", err=True)
        if report.fits:
            click.echo("The table fits the schema.")
        elif not refusals:
            click.echo("The table does not fit the schema; so clamped it would be accepted.")
    context.exit(2 if refusals else 0)


def _refusals(report: Report, clamp: bool, clamp_columns: tuple[str, ...]) -> tuple[str, ...]:
    """Says why an approval with these options would refuse the table; nothing if it would not."""
    from fedloom.client.acceptance import check_acceptance

    if not clamp and not clamp_columns:
        return report.problems
    try:
        check_acceptance(report, clamp=clamp, clamp_columns=clamp_columns)
    except DataError as error:
        return (str(error),)
    return ()


def _records(
    data: Path | None, home: Path | None, dialect: Mapping[str, Any]
) -> tuple[Source, str | None]:
    """Returns where the records are, and the id that the home's policy names, if it names one."""
    from fedloom.client.home import Home
    from fedloom.client.site_config import SiteConfig
    from fedloom.client.sources import Source

    if data is not None and home is None:
        return Source(path=data, **dialect), None
    if home is None or data is not None:
        raise ConfigError("say where the records are: either DATA, a file, or --home HOME")
    config = SiteConfig.load(Home(home).config_path)
    return replace(config.source, **dialect), config.policy.id


def _description(
    file: Path, id_column: str | None, home_id: str | None
) -> tuple[Schema, str | None]:
    """Returns the schema in a file, and the column of ids; a plan says of both what it counts."""
    from fedloom.common.schema import Schema
    from fedloom.common.text import normal
    from fedloom.privacy.plan import Plan

    if file.suffix != ".json":
        return Schema.load(file), id_column or home_id
    plan = Plan.load(file)
    counted = plan.privacy.id
    if id_column is not None and normal(id_column) != counted:
        by = "no column" if counted is None else f"the column {counted!r}"
        raise ConfigError(f"--id {id_column}: {file} tells persons apart by {by}; leave --id out")
    return plan.schema, counted


@schema.command()
@click.argument("study", type=click.Path(path_type=Path))
@site_source_options
@click.option(
    "--home",
    "homes",
    multiple=True,
    metavar="NAME=DIR",
    help="Use this existing home for site NAME; its ledger is kept.",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The run's folder.")
@click.option("--resume", is_flag=True, help="Go on with an interrupted run.")
@click.option("--limit", type=float, help="Lifetime epsilon of the homes made here.")
@clamp_options
@click.option(
    "--coordinator-key",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The key that the study names; by default the run makes its own.",
)
@click.option("--insecure-seed", type=int, hidden=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")
def learn(
    study: Path,
    sites: tuple[str, ...],
    sources: tuple[str, ...],
    dialect: dict[str, Any],
    homes: tuple[str, ...],
    out: Path,
    resume: bool,
    limit: float | None,
    clamp: bool,
    clamp_columns: tuple[str, ...],
    coordinator_key: Path | None,
    insecure_seed: int | None,
    as_json: bool,
) -> None:
    """Have STUDY, of the kind "schema", complete its schema, with all sites on this machine.

    The completed schema is OUT/schema.toml. What it cost is in the sites' ledgers; a later study in
    the same homes adds to it.
    """
    from fedloom.cli.learned_output import learned_summary, print_learned
    from fedloom.common.models.registry import model_kind
    from fedloom.common.study import load_study
    from fedloom.server.run_folder import RunFolder
    from fedloom.simulation import homes_elsewhere, prepare, run_prepared

    agreed, description = load_study(study)
    if model_kind(agreed.model.kind).makes_records:
        raise StudyError(
            f"{study}: [model] kind is {agreed.model.kind!r}; a schema is learned by a study of "
            'its own with kind = "schema" and a budget of its own'
        )
    given = {name: Path(path) for name, path in name_value_pairs(homes, "--home").items()}
    for home in homes_elsewhere(RunFolder(out), given).values():
        note_command(home)
    with RunProgress(quiet=as_json) as progress:
        folder = prepare(
            agreed,
            description,
            site_sources(sites, sources, dialect),
            out=out,
            homes=given,
            where=study,
            limit=limit,
            resume=resume,
            clamp=clamp,
            clamp_columns=clamp_columns,
            coordinator_key=coordinator_key,
            insecure_seed=insecure_seed,
        )
        progress.plan(folder.plan())
        run_prepared(folder, insecure_seed=insecure_seed, on_event=progress)
    plan = folder.plan()
    summary = {
        "run": str(out),
        "plan": plan.digest(),
        "epsilon": plan.price(folder.priced_runs()).epsilon,
        "delta": plan.delta,
        "runs": folder.priced_runs(),
        "sites": [site.name for site in plan.sites],
        **learned_summary(folder.path),
    }
    if as_json:
        click.echo(json.dumps(summary, indent=2))
    else:
        print_learned(summary)
