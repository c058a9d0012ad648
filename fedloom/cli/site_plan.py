"""`fedloom site plan`: what a study would take from a site, as its steward reads it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fedloom.cli.command_audit import note_home
from fedloom.cli.options import json_option
from fedloom.cli.output import print_json

if TYPE_CHECKING:
    from fedloom.client.explanation import Explanation

__all__ = ["home_option", "plan", "runs_option", "told"]

home_option = click.option(
    "--home",
    type=click.Path(path_type=Path),
    default=Path("."),
    show_default="this folder",
    callback=note_home,
    help="The site's home.",
)
runs_option = click.option(
    "--runs",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    help="How many runs the approval is for; they are priced and held together.",
)


@click.command()
@click.argument("study", type=click.Path(path_type=Path))
@home_option
@runs_option
@json_option
def plan(study: Path, home: Path, runs: int, as_json: bool) -> None:
    """Say what STUDY would take from this site and cost it; nothing is signed."""
    explanation = told(study, home, runs, as_json=as_json)
    if as_json:
        print_json(explanation.to_dict())


def told(study: Path, home: Path, runs: int, *, as_json: bool) -> Explanation:
    """Explains a study, or its plan, to the steward; printed for people unless `as_json`.

    Raises:
      FedloomError: the plan is not sound, not for this home, beyond its policy, or names keys
        that are not pinned, which is said after the plan is printed: its keys are on it.
    """
    from fedloom.client.approval import load_plan_or_study
    from fedloom.client.explanation import explain
    from fedloom.client.home import Home
    from fedloom.client.peers import check_peers
    from fedloom.client.site_config import SiteConfig

    opened = Home.open(home)
    config = SiteConfig.load(opened.config_path)
    explanation = explain(opened, config, load_plan_or_study(study), runs)
    if not as_json:
        for line in explanation.lines:
            click.echo(line)
    check_peers(config.peers, explanation.plan, site=config.name)
    return explanation
