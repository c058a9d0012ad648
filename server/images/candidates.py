"""How a round of votes is asked: its candidates, from the sums and votes before it.

Seeds follow from plan, run and round, so a coordinator that resumes asks the same question again.
"""

from __future__ import annotations

from collections.abc import Sequence

from fedloom.common.images.coder import ImageCoder
from fedloom.common.images.generator import ImageGenerator
from fedloom.common.images.votes import VOTES, votes_of
from fedloom.privacy.answers.opened import OpenedRound
from fedloom.privacy.answers.opened_images import noisy_images
from fedloom.privacy.phases import StatisticPhase
from fedloom.privacy.plan import Plan, RoundQuery
from fedloom.server.binning import Design
from fedloom.server.images.design import image_design
from fedloom.server.images.learner import mixture_arrays
from fedloom.server.images.simulators import simulator_of
from fedloom.server.images.votes import first_candidates, next_candidates
from fedloom.server.learning import round_seed

__all__ = ["voting_design"]


def voting_design(plan: Plan, asked: RoundQuery, opened: Sequence[OpenedRound]) -> Design:
    """Designs the next sum over images, or the next round of votes.

    Args:
      plan: that is carried out.
      asked: the round to ask.
      opened: the statistics rounds before it.
    """
    assert isinstance(asked.phase, StatisticPhase)
    if asked.phase.statistic not in VOTES:
        return image_design(plan, asked, opened)
    coder, statistics = plan.coder, noisy_images(plan, opened)
    assert isinstance(coder, ImageCoder)
    votes, seed = votes_of(coder), round_seed(plan, opened[0].run, asked.round)
    mixture = ImageGenerator(coder.shape, mixture_arrays(statistics, seed))
    if statistics.votes:
        last = statistics.votes[-1]
        before = last.request_arrays["candidates"]
        counts = last.values().reshape(before.shape[:2])
        candidates = next_candidates(
            mixture, before, counts, last.stds[0], warp=votes.variation, seed=seed
        )
    else:
        candidates = first_candidates(
            mixture,
            coder.encoding.class_labels,
            votes.candidates,
            simulator=simulator_of(votes),
            warp=votes.variation,
            seed=seed,
        )
    return Design(arrays={"candidates": candidates})
