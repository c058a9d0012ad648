"""What the arrays of a request for a sum must be, and how long the sum is that they ask for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedloom.common.errors import ConfigError
from fedloom.common.scores import Evaluation
from fedloom.common.statistics import check_groups, statistic
from fedloom.privacy.answers.files import Arrays
from fedloom.privacy.plan import Plan

__all__ = ["sum_length"]


def sum_length(plan: Plan, query: str, params: Mapping[str, Any], arrays: Arrays) -> int:
    """Checks the arrays of a request against the plan, and returns the length of its answer.

    Pairs come with the groups to count them on, an evaluation with what it scores by, and every
    other statistic without arrays.

    Args:
      plan: the plan.
      query: "statistic" or "evaluate".
      params: of the request.
      arrays: of the request.

    Raises:
      ConfigError: an array is missing, is one too many, or does not fit the plan's schema.
    """
    if query == "evaluate":
        evaluation = Evaluation(plan.encoding)
        evaluation.check(arrays)
        return evaluation.length
    kind = str(params["kind"])
    expected = {"groups"} if kind == "pairwise" else set()
    if set(arrays) != expected:
        raise ConfigError(
            f"a statistic of kind {kind} takes {'groups' if expected else 'no array'}; got "
            f"{', '.join(sorted(arrays)) or 'none'}"
        )
    if plan.learns_schema:
        return plan.discovery.length
    if expected:
        check_groups(plan.encoding, arrays["groups"], params["most_cells"])
    return statistic(kind, plan.encoding, arrays.get("groups")).length
