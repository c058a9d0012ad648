"""What the opened sums over images say together, and beside them the counts of columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fedloom.common.images.votes import VOTES
from fedloom.common.marginals import NoisyMarginals
from fedloom.privacy.answers.opened import OpenedRound
from fedloom.privacy.answers.opened_marginals import noisy_statistics
from fedloom.privacy.plan import Plan

__all__ = ["NoisyImages", "noisy_images"]


@dataclass(frozen=True, kw_only=True)
class NoisyImages(NoisyMarginals):
    """Counts of columns, and the sums over images, with their noise.

    Attributes:
      plan: that was carried out.
      images: opened sums over images, in the order in which they were asked.
      votes: opened votes for candidate images, likewise.
    """

    plan: Plan
    images: tuple[OpenedRound, ...]
    votes: tuple[OpenedRound, ...]


def noisy_images(plan: Plan, rounds: Sequence[OpenedRound]) -> NoisyImages:
    """Returns what the statistics rounds of a model of images say.

    Args:
      plan: a plan whose records have images.
      rounds: its opened `statistic` rounds in order, as far as they were asked.
    """
    columns = noisy_statistics(plan, rounds[:1])
    return NoisyImages(
        encoding=columns.encoding,
        look=columns.look,
        look_std=columns.look_std,
        site_totals=columns.site_totals,
        plan=plan,
        images=tuple(one for one in rounds[1:] if one.params["statistic"] not in VOTES),
        votes=tuple(one for one in rounds[1:] if one.params["statistic"] in VOTES),
    )
