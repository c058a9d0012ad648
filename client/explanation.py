"""What a steward is told of a plan before deciding: in words, with price, budget and warnings."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from fedloom.client import approval
from fedloom.client.home import Home
from fedloom.client.membership import check_coordinator
from fedloom.client.plan_in_words import in_plain_words
from fedloom.client.site_config import SiteConfig
from fedloom.privacy.ledger import Admission, read_ledger
from fedloom.privacy.plan import Plan
from fedloom.privacy.plan_size import noise_warnings
from fedloom.privacy.price_warnings import price_warnings

__all__ = ["Explanation", "explain"]


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

    @property
    def budget_in_words(self) -> str:
        """Where the home's budget would stand, and its limit."""
        after = self.after
        return (
            f"Budget: {'it fits' if after.fits else 'IT DOES NOT FIT'}; with it this home would "
            f"stand at epsilon {after.epsilon:.4g}, and its limit is {after.limits.in_words}"
        )

    @property
    def lines(self) -> list[str]:
        """Everything, as people read it; two spaces before a line that belongs to the one above."""
        return [
            *self.words,
            self.budget_in_words,
            "Compared with the study approved last:",
            *(f"  {line}" for line in self.differences),
            *(f"Warning: {warning}" for warning in self.warnings),
            f"Plan digest: {self.plan.digest()}",
        ]

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


def explain(home: Home, config: SiteConfig, plan: Plan, runs: int) -> Explanation:
    """Explains a plan to the steward of a home; nothing is signed.

    The other sites' keys are not compared here: those that the plan names are in the explanation,
    which the steward needs to pin them (`fedloom.client.peers.check_peers`).

    Raises:
      FedloomError: the plan is not sound, not for this home, or beyond its policy.
    """
    approval.verify_plan(plan, site=config.name, home=home)
    check_coordinator(home, plan)
    config.policy.check(plan, runs)
    return Explanation(
        plan=plan,
        site=config.name,
        runs=runs,
        words=in_plain_words(plan, site=config.name, runs=runs),
        after=read_ledger(home.path).admission(plan.event_of(runs), config.policy.limits),
        differences=approval.differences(plan, approval.last_approved(home)),
        warnings=[*price_warnings(plan, runs), *noise_warnings(plan)],
    )
