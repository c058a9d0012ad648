"""`fedloom schema draft`: a first schema from a codebook or from made-up rows."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fedloom.cli.source_options import source_options
from fedloom.cli.table_file import not_written
from fedloom.common.errors import ConfigError, SchemaError
from fedloom.common.files import write_whole

if TYPE_CHECKING:
    from fedloom.common.draft import Draft, DraftColumn

__all__ = ["draft"]


@click.command()
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The schema to write.")
@click.option(
    "--as",
    "form",
    type=click.Choice(["codebook", "table"]),
    help="What FILE is; by default as it looks.",
)
@click.option("--table", metavar="NAME", help="Of a codebook of several tables, the one to take.")
@click.option(
    "--public",
    is_flag=True,
    help="Everybody may know every value in FILE: take bounds and categories from it.",
)
@click.option("--blanks", is_flag=True, help="Leave blanks to fill in, in place of open columns.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")
@source_options
def draft(
    file: Path,
    out: Path,
    form: str | None,
    table: str | None,
    public: bool,
    blanks: bool,
    as_json: bool,
    dialect: dict[str, Any],
) -> None:
    """Draft a schema from FILE: a public codebook, or a table of made-up rows.

    Codebooks are data dictionaries in CSV, JSON or TOML: REDCap's, Frictionless table schemas, CSV
    on the Web, JSON Schema, the codebook.json of a release, or a plain list of variables. What they
    say of bounds and categories is taken; what they do not say is left open.

    Of a table (CSV, Excel or Parquet) names and kinds alone are taken. Kinds are read from its
    values, so give made-up rows, never records. Only with --public are bounds and categories taken
    too.
    """
    from fedloom.common.draft import draft_text
    from fedloom.common.schema import Schema

    if out.exists():
        raise ConfigError(f"{out} exists, and people may have completed it; choose another --out")
    found = _read(file, form, table, public, dialect)
    text = draft_text(found, name=file.name, blanks=blanks)
    to_fill_in = [column for column in found.columns if _state(column, blanks) == "blank"]
    if not to_fill_in:
        try:
            Schema.from_dict(tomllib.loads(text))
        except SchemaError as error:
            raise SchemaError(f"{file}: {error}") from None
    try:
        write_whole(out, text)
    except OSError as error:
        raise not_written(out, error) from error
    if as_json:
        click.echo(json.dumps(_summary(found, out, blanks), indent=2, ensure_ascii=False))
    else:
        _tell(found, out, blanks)


def _read(
    file: Path, form: str | None, table: str | None, public: bool, dialect: Mapping[str, Any]
) -> Draft:
    from fedloom.client.draft_table import draft_table
    from fedloom.client.sources import Source, load_whole
    from fedloom.common.draft import looks_like_codebook, read_codebook

    if form == "codebook" or (form is None and looks_like_codebook(file)):
        return read_codebook(file, table=table, public=public)
    private_frame = load_whole(Source(path=file, **dialect))
    words = "a public table" if public else "a table of made-up rows"
    try:
        return draft_table(private_frame, public=public, form=words)
    except SchemaError as error:
        raise SchemaError(f"{file}: {error}") from None


def _state(column: DraftColumn, blanks: bool) -> str:
    """Says what the schema's file holds of a column: told, open or blank."""
    if column.known:
        return "told"
    return "blank" if blanks or column.kind is None else "open"


def _summary(found: Draft, out: Path, blanks: bool) -> dict[str, Any]:
    states = [_state(column, blanks) for column in found.columns]
    return {
        "schema": str(out),
        "read_as": found.form,
        "source": found.source,
        "loads": "blank" not in states,
        "columns": [
            {"name": column.name, "kind": column.kind, "state": state}
            for column, state in zip(found.columns, states, strict=True)
        ],
        "left_out": dict(found.left_out),
        "notes": list(found.notes),
    }


def _tell(found: Draft, out: Path, blanks: bool) -> None:
    from fedloom.common.draft.draft import MADE_UP, PUBLIC

    click.echo(f"{out}: {len(found.columns)} columns, read from {found.form}")
    words = {"told": "complete", "open": "open", "blank": "to fill in"}
    for state, word in words.items():
        names = [column.name for column in found.columns if _state(column, blanks) == state]
        if names:
            click.echo(f"{word}: {', '.join(names)}")
    for name, why in found.left_out.items():
        click.echo(f"left out: '{name}', {why}")
    for note in found.notes:
        click.echo(f"note: {note}")
    if found.source == MADE_UP:
        click.echo("Kinds were read from the rows: pass the schema on only if they are made up.")
    if found.source == PUBLIC:
        click.echo("Bounds and categories are those of the file, public by your word.")
    click.echo("next: read it through, and complete it from documents")
