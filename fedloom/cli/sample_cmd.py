"""`fedloom sample`: draws synthetic rows from a run or a release; free of charge."""

from __future__ import annotations

from pathlib import Path

import click

from fedloom.cli.pairs import name_value_pairs

__all__ = ["sample"]


@click.command()
@click.argument("source", metavar="SOURCE", type=click.Path(path_type=Path))
@click.option("--rows", type=click.IntRange(min=1), required=True, help="How many rows.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="A .csv or .parquet file.",
)
@click.option("--where", multiple=True, metavar="LABEL=VALUE", help="Exact condition on the label.")
@click.option("--seed", type=int, help="Makes the draw repeatable.")
def sample(source: Path, rows: int, out: Path, where: tuple[str, ...], seed: int | None) -> None:
    """Draw synthetic rows from SOURCE, the folder of a run or of a release.

    Sampling costs no privacy, however many rows are drawn.
    """
    from fedloom.common.artifact import Artifact
    from fedloom.common.errors import ConfigError
    from fedloom.common.sampling import sample as draw
    from fedloom.privacy.plan import Plan
    from fedloom.privacy.release.data import write_table

    if out.suffix not in (".csv", ".parquet"):
        raise ConfigError(f"{out}: rows are written as .csv or .parquet; choose one of the two")
    if not (source / "plan.json").is_file():
        raise ConfigError(f"{source} is neither a run nor a release: it holds no plan.json")
    if not (source / "generator").is_dir():
        raise ConfigError(f"{source} holds no generator; finish the run with --resume first")
    plan = Plan.load(source / "plan.json")
    frame = draw(
        Artifact.load(source / "generator"),
        plan.schema,
        plan.target,
        rows,
        where=dict(name_value_pairs(where, "--where")) or None,
        seed=seed,
    )
    try:
        write_table(frame, out)
    except OSError as error:
        raise ConfigError(f"{out} cannot be written: {error.strerror}") from error
    click.echo(f"{len(frame)} rows in {out}; sampling is free: no privacy was spent", err=True)
