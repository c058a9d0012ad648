"""`fedloom infer`: estimates with honest intervals from a release's noisy answers; free."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

from fedloom.cli.options import json_option
from fedloom.cli.output import print_json

if TYPE_CHECKING:
    from fedloom.privacy.inference.result import Estimate, Inference

__all__ = ["infer"]


@click.command()
@click.argument("folder", metavar="RELEASE", type=click.Path(path_type=Path))
@click.argument("formula", required=False)
@click.option(
    "--family",
    type=click.Choice(["linear", "logistic", "poisson"]),
    help="Of a formula; by default logistic for a response of two values, else linear.",
)
@click.option("--mean", metavar="COLUMN", help="A mean, also of log(COLUMN).")
@click.option(
    "--share", metavar="COLUMN", help="Shares of its values or items, or 'COLUMN == VALUE'."
)
@click.option("--quantile", metavar="COLUMN", help="A quantile of a column of numbers.")
@click.option(
    "--at",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.5,
    show_default=True,
    help="Share of records below the quantile.",
)
@click.option(
    "--table", metavar="COLUMN[,COLUMN]", help="Numbers of records, by one or two columns."
)
@click.option("--by", metavar="COLUMN", help="Groups: a column, or 'cut(COLUMN, 30, 50)'.")
@click.option(
    "--differences", is_flag=True, help="Of means or shares, to those of the first group."
)
@click.option(
    "--plot",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Draw the intervals into this .svg file.",
)
@json_option
def infer(
    folder: Path,
    formula: str | None,
    family: str | None,
    mean: str | None,
    share: str | None,
    quantile: str | None,
    at: float,
    table: str | None,
    by: str | None,
    differences: bool,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Estimate numbers from the RELEASE's noisy answers, with 95% intervals.

    \b
      fedloom infer RELEASE "income ~ age + C(sex)"
      fedloom infer RELEASE "visited == yes ~ log(income) + cut(age, 30, 50)"
      fedloom infer RELEASE --mean age --by sex --differences

    Intervals count sampling and the exactly known privacy noise. Nothing is asked of any site and
    no privacy is spent. What the study did not buy, or what noise hides, is refused with exit
    code 3, and the message says what would have to be bought.
    """  # noqa: D301 -- click reads \b as a character, which keeps examples apart
    from fedloom.consumer import Release

    found = Release(folder).infer(
        formula,
        family=family,
        mean=mean,
        share=share,
        quantile=quantile,
        table=() if table is None else [name.strip() for name in table.split(",")],
        by=by,
        differences=differences,
        at=at,
    )
    if plot is not None:
        found.plot().save(plot)
    if as_json:
        print_json(found.to_dict())
        return
    _show(found)


def _show(found: Inference) -> None:
    console = Console()
    console.print(f"{found.title} [{found.scale}]", style="bold", markup=False)
    table = Table(box=None, pad_edge=False)
    table.add_column("", overflow="fold")
    for name in ("estimate", "95% interval", "noise"):
        table.add_column(name, justify="right", no_wrap=True)
    if found.ratio is not None:
        table.add_column(found.ratio, justify="right", no_wrap=True)
    for estimate in found.estimates:
        table.add_row(*_row(estimate, found.ratio))
    console.print(table)
    click.echo("noise: its part of the variance; the rest is sampling.")
    for note in found.notes:
        click.echo(f"Note: {note}")
    click.echo(
        f"About {found.records:,.0f} records; no privacy was spent beyond epsilon "
        f"{found.epsilon:.3g} of the release."
    )


def _row(estimate: Estimate, ratio: str | None) -> list[str]:
    more = [] if ratio is None else [""]
    if estimate.value is None or estimate.lower is None or estimate.upper is None:
        return [estimate.name, "hidden", "", "", *more]
    assert estimate.std_noise is not None and estimate.std_error is not None
    part = (estimate.std_noise / max(estimate.std_error, 1e-300)) ** 2
    width = max(estimate.upper - estimate.lower, 1e-12)
    digits = min(max(2 - math.floor(math.log10(width)), 0), 8)
    if ratio is not None:
        more = [
            f"{math.exp(estimate.value):.3g} ({math.exp(estimate.lower):.3g} to "
            f"{math.exp(estimate.upper):.3g})"
        ]
    return [
        estimate.name,
        f"{estimate.value:,.{digits}f}",
        f"{estimate.lower:,.{digits}f} to {estimate.upper:,.{digits}f}",
        f"{100 * part:.0f}%",
        *more,
    ]
