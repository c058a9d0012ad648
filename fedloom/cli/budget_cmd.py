"""`fedloom budget`: what a site has spent, what is reserved, and what is left."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fedloom.cli.options import json_option
from fedloom.cli.output import print_json
from fedloom.common.vocabulary import Unit

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["budget"]

_BAR = 30


@click.group()
def budget() -> None:
    """The privacy budget of a site."""


@budget.command()
@click.argument(
    "homes", metavar="SITE_HOME...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@json_option
def show(homes: tuple[Path, ...], as_json: bool) -> None:
    """Show what the ledger in each SITE_HOME has spent and has left.

    What is spent is a running total. What is guaranteed over the life of the records is the
    limit: which studies come next may depend on earlier answers.

    Several homes of one unit are also composed: that is the loss of a record, or of a person,
    that is in all of them.
    """
    from fedloom.client.site_config import SiteConfig
    from fedloom.privacy.ledger import compose_homes, read_ledger

    views = [read_ledger(home) for home in homes]
    policies = [SiteConfig.limits_at(home / "site.toml") for home in homes]
    budgets = [view.budget(policy) for view, policy in zip(views, policies, strict=True)]
    together: dict[str, Any] | None = None
    if len(views) > 1:
        delta = min(spent["delta"] for spent in budgets)
        one_unit = len({view.unit for view in views} - {None}) < 2
        together = {
            "sites": [view.site for view in views],
            "delta": delta,
            "epsilon_spent": compose_homes(views, delta) if one_unit else None,
        }
    if as_json:
        print_json(budgets[0] if together is None else {"homes": budgets, "together": together})
        return
    limits = [view.limits(policy).in_words for view, policy in zip(views, policies, strict=True)]
    _print(budgets, limits, together)


def _print(
    budgets: list[dict[str, Any]], limits: list[str], together: dict[str, Any] | None
) -> None:
    from rich.console import Console

    console = Console()
    for spent, limit in zip(budgets, limits, strict=True):
        console.print(_heading(spent), highlight=False)
        console.print(_bar(spent), highlight=False)
        if spent["studies"]:
            console.print(_studies(spent["studies"]))
        console.print(
            "spent is a running total; the guarantee over the life of these records is the limit, "
            f"{limit}",
            style="dim",
            highlight=False,
            markup=False,
        )
        console.print()
    if together is not None:
        console.print(f"[bold]Together[/bold], {_composed(budgets, together)}", highlight=False)


def _composed(budgets: list[dict[str, Any]], together: dict[str, Any]) -> str:
    if together["epsilon_spent"] is None:
        return (
            "no sum: the losses of some homes are for one record and of others for one person, "
            "and one says nothing about the other"
        )
    unit = next((spent["unit"] for spent in budgets if spent["unit"]), "record")
    return (
        f"for a {unit} in all {len(together['sites'])} homes: epsilon "
        f"{together['epsilon_spent']:.4g} spent at delta {together['delta']:g}"
    )


def _heading(spent: dict[str, Any]) -> str:
    words = []
    if spent["unit"] == Unit.PERSON:
        words.append(f"for one person, by column {spent['id']!r}")
    if spent["rehearsal"]:
        words.append("rehearsal: covers runs in this home alone")
    if spent["insecure_noise"]:
        words.append("[red]noise from a known seed: protects nobody[/red]")
    if spent["paused"]:
        words.append("paused")
    after = f"  ({'; '.join(words)})" if words else ""
    return f"[bold]{spent['site']}[/bold]{after}"


def _bar(spent: dict[str, Any]) -> str:
    limit = max(spent["epsilon_limit"], 1e-12)
    filled = min(round(_BAR * spent["epsilon_spent"] / limit), _BAR)
    held = min(round(_BAR * spent["epsilon_reserved"] / limit), _BAR) - filled
    bar = f"[cyan]{'━' * filled}[/cyan][yellow]{'━' * held}[/yellow]"
    bar += f"[dim]{'━' * (_BAR - filled - held)}[/dim]"
    text = f"epsilon {spent['epsilon_spent']:.4g} spent"
    if spent["epsilon_reserved"] > spent["epsilon_spent"]:
        text += f", {spent['epsilon_reserved']:.4g} with what is reserved"
    return f"{bar}  {text}, of {spent['epsilon_limit']:.4g} at delta {spent['delta']:g}"


def _studies(studies: list[dict[str, Any]]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("study", "plan", "status"):
        table.add_column(name)
    for name in ("runs", "spent", "reserved"):
        table.add_column(name, justify="right")
    for study in studies:
        table.add_row(
            str(study["name"]),
            str(study["plan"])[:12],
            str(study["status"]),
            str(study["runs"]),
            f"{study['epsilon_spent']:.4g}",
            f"{study['epsilon_reserved']:.4g}",
        )
    return table
