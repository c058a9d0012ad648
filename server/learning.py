"""Steps of learning that depend on public numbers alone: the same in a run and when refitted.

Everything here is post-processing of opened answers, and costs no privacy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from fedloom.common.records import Statistics
from fedloom.privacy.plan import Plan, RoundQuery
from fedloom.server.learners import Learner, State

__all__ = ["absorbed", "round_seed", "site_sizes"]

_SEED_BYTES = 7


def round_seed(plan: Plan, run: str, round_number: int) -> int:
    """Returns the public seed of a round's post-processing, below 2^56: the same when done again.

    Args:
      plan: the plan that is carried out.
      run: the run's name.
      round_number: of the plan, from 1.
    """
    text = f"{plan.digest()}/{run}/{round_number}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:_SEED_BYTES], "big")


def site_sizes(plan: Plan, statistics: Statistics, sites: Iterable[str]) -> dict[str, float]:
    """Returns noisy or declared numbers of records; a site without one counts as the average.

    Args:
      plan: the plan that is carried out.
      statistics: its noisy statistics.
      sites: whose numbers are wanted.
    """
    known = statistics.site_totals
    rest = [entry.name for entry in plan.sites if entry.name not in known]
    left = statistics.total() - sum(known.values())
    average = max(1.0, left / len(rest)) if rest else 1.0
    return {site: known.get(site, average) for site in sites}


def absorbed(
    learner: Learner,
    state: State,
    asked: RoundQuery,
    aggregate: dict[str, np.ndarray[Any, np.dtype[Any]]],
    sizes: Mapping[str, float],
    seed: int,
) -> State:
    """Returns a learner's state after a training round.

    Args:
      learner: of the plan's model.
      state: before the round.
      asked: the round.
      aggregate: what the sites' answers add up, or average, to.
      sizes: numbers of records of the sites in the round.
      seed: of the round.
    """
    batch = max(1.0, asked.params["sample_rate"] * sum(sizes.values()))
    return learner.update(state, aggregate, batch, seed)
