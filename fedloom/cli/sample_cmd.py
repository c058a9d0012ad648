"""`fedloom sample`: draws synthetic rows from a run or a release; free of charge."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fedloom.cli.generator_folder import load_generator
from fedloom.cli.options import column_value_pairs

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["sample"]

_HELP_WHERE = (
    "What every row meets, such as age=40..60, sex=1 or 'region=north|missing'; repeat for more "
    "columns."
)


@click.command()
@click.argument("source", metavar="SOURCE", type=click.Path(path_type=Path))
@click.option("--rows", type=click.IntRange(min=1), required=True, help="How many rows.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="A .csv or .parquet file; of records with images a .npz file or a new folder.",
)
@click.option("--where", multiple=True, metavar="COLUMN=CONDITION", help=_HELP_WHERE)
@click.option("--seed", type=click.IntRange(min=0), help="Makes the draw repeatable.")
@click.option("--threads", type=click.IntRange(min=1), help="By default one a core, up to 8.")
def sample(
    source: Path,
    rows: int,
    out: Path,
    where: tuple[str, ...],
    seed: int | None,
    threads: int | None,
) -> None:
    """Draw synthetic rows from SOURCE, the folder of a run or of a release.

    A condition is a value, a range lo..hi (both ends included, either may be left out), the word
    missing, or several of these joined by | and in quotes.

    Conditions are met exactly, and the schema's constraints hold in every row. Sampling costs no
    privacy, however many rows are drawn.
    """
    from fedloom.cli.table_file import write_chunks, writer_of
    from fedloom.common.sampling import Tally, sample_chunks

    artifact, plan = load_generator(source)
    write = writer_of(out, plan.schema.kind)
    tally = Tally()
    chunks = sample_chunks(
        artifact,
        plan.schema,
        plan.target,
        rows,
        where=column_value_pairs(where, plan.schema.names, "--where", example="age=40..60"),
        seed=seed,
        threads=threads,
        tally=tally,
    )
    written = write_chunks(_shown(chunks, rows), out, write)
    if plan.schema.constraints:
        click.echo(str(tally), err=True)
    click.echo(f"{written:,} rows in {out}; sampling is free: no privacy was spent", err=True)


def _shown(chunks: Iterable[pd.DataFrame], rows: int) -> Iterator[pd.DataFrame]:
    """Passes chunks on, and shows on a terminal how far they have come."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (BarColumn(bar_width=24), MofNCompleteColumn(), "rows", TimeRemainingColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task("rows", total=rows)
        for chunk in chunks:
            yield chunk
            progress.advance(task, len(chunk))
