"""Fits the generator of a run again, from what its sites answered.

The statistics come from the opened sums, training rounds from the sites' own parts; seeds follow
from plan and run. So the result is what the coordinator must have made, up to the rounding of the
machine. Everything is post-processing, and costs no privacy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fedloom.common.artifact import Artifact
from fedloom.common.marginals import NoisyMarginals
from fedloom.common.messages import Answer
from fedloom.common.public_counts import PublicCounts
from fedloom.common.vocabulary import Query, Stage
from fedloom.privacy.answers.files import part_path, read_part
from fedloom.privacy.answers.opened import OpenedRound, lattice_values, noisy_sums
from fedloom.privacy.answers.opened_marginals import opened_statistics
from fedloom.privacy.plan import Plan, RoundQuery
from fedloom.privacy.secure_sum import open_sum
from fedloom.server.aggregation import unflatten, weighted_mean
from fedloom.server.learners import build_learner
from fedloom.server.learners.public_prior import with_public
from fedloom.server.learning import absorbed, round_seed, site_sizes

__all__ = ["refit"]

Arrays = dict[str, np.ndarray[Any, np.dtype[Any]]]


def refit(
    plan: Plan,
    run: str,
    opened: Mapping[int, OpenedRound],
    evidence: Path | None,
    public: PublicCounts | NoisyMarginals | None = None,
) -> Artifact:
    """Returns the generator that the answers give.

    Args:
      plan: that was carried out.
      run: the run's name.
      opened: the opened rounds, checked, by their number.
      evidence: folder of the sites' own parts, checked; a plan without training needs none.
      public: counts of the plan's public table, an earlier release's answers, or None.

    Raises:
      ReleaseError: a part cannot be read.
      StudyError: the plan's model makes no generator.
    """
    looks = [asked.round for asked in plan.rounds if asked.phase.stage is Stage.STATISTICS]
    statistics = opened_statistics(plan, [opened[number] for number in looks])
    if public is not None:
        statistics = with_public(statistics, public)
    learner = build_learner(plan)
    state = learner.initialise(statistics, round_seed(plan, run, looks[-1]))
    for asked in plan.rounds:
        if asked.phase.stage is not Stage.TRAINING:
            continue
        assert evidence is not None, "a training round's answers are in the evidence alone"
        parts = _parts(plan, asked, evidence)
        sizes = site_sizes(plan, statistics, sorted(parts))
        aggregate = _aggregate(plan, asked, parts, sizes, learner.answer_shapes())
        state = absorbed(
            learner, state, asked, aggregate, sizes, round_seed(plan, run, asked.round)
        )
    return learner.export(state)


def _parts(plan: Plan, asked: RoundQuery, evidence: Path) -> dict[str, Answer]:
    """Reads a round's parts; checked evidence holds those of the sites in the sum and no other."""
    paths = {site.name: part_path(evidence, asked.round, site.name) for site in plan.sites}
    return {
        site: read_part(path, site=site, key=plan.site(site).key)
        for site, path in sorted(paths.items())
        if path.exists()
    }


def _aggregate(
    plan: Plan,
    asked: RoundQuery,
    parts: Mapping[str, Answer],
    sizes: Mapping[str, float],
    shapes: Mapping[str, tuple[int, ...]],
) -> Arrays:
    if asked.query is Query.TRAIN:
        return weighted_mean({site: part.arrays for site, part in parts.items()}, sizes)
    shares = {site: part.arrays["sum"] for site, part in parts.items()}
    length = sum(math.prod(shape) for shape in shapes.values())
    total = open_sum(shares, roster=sorted(shares))
    return unflatten(lattice_values(total, noisy_sums(plan, asked, length, len(parts))), shapes)
