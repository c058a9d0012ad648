"""`fedloom site plan`: what a study would take from a site, as its steward reads it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fedloom.cli.options import json_option
from fedloom.cli.output import print_json

if TYPE_CHECKING:
    from fedloom.privacy.ledger.budget import Admission
    from fedloom.privacy.plan import Plan

__all__ = ["Explanation", "explain", "home_option", "plan", "runs_option"]

home_option = click.option(
    "--home",
    type=click.Path(path_type=Path),
    default=Path("."),
    show_default="this folder",
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
    explanation = explain(study, home, runs, as_json=as_json)
    if as_json:
        print_json(explanation.to_dict())


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """What a steward is told of a plan before deciding.

    Attributes:
      plan: of the study.
      site: the steward's.
      runs: how many runs the approval would be for.
      words: what would leave, of which columns, who sees it and what it costs.
      after: where the home's budget would stand.
      differences: from the plan that was approved last.
      warnings: what speaks against it, by the plan alone.
    """

    plan: Plan
    site: str
    runs: int
    words: list[str]
    after: Admission
    differences: list[str]
    warnings: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Returns the explanation as JSON-able values."""
        plan, evaluation = self.plan, self.plan.evaluation
        return {
            "study": plan.name,
            "plan_digest": plan.digest(),
            "site": self.site,
            "runs": self.runs,
            "unit": plan.privacy.unit.value,
            "epsilon": plan.price(self.runs).epsilon,
            "delta": plan.delta,
            "columns": [
                {"name": column.name, "kind": column.kind} for column in plan.schema.columns
            ],
            "target": plan.target,
            "id": plan.privacy.id,
            "rows_per_person": None if plan.privacy.id is None else plan.privacy.rows_per_person,
            "hold_back": None if evaluation is None else evaluation.hold_back,
            "words": self.words,
            "fits": self.after.fits,
            # JSON knows no infinity; a plan that costs so much does not fit.
            "epsilon_after": self.after.epsilon if math.isfinite(self.after.epsilon) else None,
            "differences": self.differences,
            "warnings": self.warnings,
        }

    def print(self) -> None:
        """Prints it for people."""
        for line in self.words:
            click.echo(line)
        after = self.after
        click.echo(
            f"Budget: {'it fits' if after.fits else 'IT DOES NOT FIT'}; with it this home would "
            f"stand at epsilon {after.epsilon:.4g}, and its limit is {after.limits.in_words}"
        )
        click.echo("Compared with the study approved last:")
        for line in self.differences:
            click.echo(f"  {line}")
        for warning in self.warnings:
            click.echo(f"Warning: {warning}")
        click.echo(f"Plan digest: {self.plan.digest()}")


def explain(study: Path, home: Path, runs: int, *, as_json: bool) -> Explanation:
    """Explains a study, or its plan, to the steward; printed for people unless `as_json`.

    Raises:
      FedloomError: the plan is not sound, not for this home, beyond its policy, or names keys
        that are not pinned, which is said after the plan is printed: its keys are on it.
    """
    from fedloom.client import approval
    from fedloom.client.home import Home
    from fedloom.client.membership import check_coordinator
    from fedloom.client.peers import check_peers
    from fedloom.client.plan_in_words import in_plain_words
    from fedloom.client.site_config import SiteConfig
    from fedloom.privacy.ledger import read_ledger
    from fedloom.privacy.plan_size import noise_warnings
    from fedloom.privacy.price_warnings import price_warnings

    opened = Home.open(home)
    config = SiteConfig.load(opened.config_path)
    agreed = approval.load_plan_or_study(study)
    approval.verify_plan(agreed, site=config.name, home=opened)
    check_coordinator(opened, agreed)
    config.policy.check(agreed, runs)
    explanation = Explanation(
        plan=agreed,
        site=config.name,
        runs=runs,
        words=in_plain_words(agreed, site=config.name, runs=runs),
        after=read_ledger(opened.path).admission(agreed.event_of(runs), config.policy.limits),
        differences=approval.differences(agreed, approval.last_approved(opened)),
        warnings=[*price_warnings(agreed, runs), *noise_warnings(agreed)],
    )
    if not as_json:
        explanation.print()
    check_peers(config.peers, agreed, site=config.name)
    return explanation
