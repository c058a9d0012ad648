"""How each sum over images is asked: designed from the noisy sums before it, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

from fedloom.common.errors import StudyError
from fedloom.common.images.coder import ImageCoder
from fedloom.common.images.statistics import (
    IMAGE_SUMS,
    MOST_DIRECTIONS,
    MOST_GROUPS,
    request_arrays,
)
from fedloom.common.images.vectors import MOST_COORDINATES
from fedloom.common.images.votes import VOTES
from fedloom.privacy.answers.opened import OpenedRound, spread_of
from fedloom.privacy.answers.opened_images import NoisyImages, noisy_images
from fedloom.privacy.phases import StatisticPhase
from fedloom.privacy.plan import Plan, RoundQuery
from fedloom.server.binning import Design
from fedloom.server.images.fit import ImageFit, NoisyTotal

__all__ = ["image_design", "image_fit"]

_BY_STATISTIC = dict(
    zip(
        IMAGE_SUMS,
        ("class_means", "spread", "class_spread", "group_means", "group_spread"),
        strict=True,
    )
)


def image_design(plan: Plan, asked: RoundQuery, opened: Sequence[OpenedRound]) -> Design:
    """Designs the next sum over images.

    Args:
      plan: that is carried out.
      asked: the round to ask.
      opened: the statistics rounds before it.
    """
    assert isinstance(asked.phase, StatisticPhase)
    name = asked.phase.statistic
    if name not in _BY_STATISTIC:
        return Design()
    coder = plan.coder
    assert isinstance(coder, ImageCoder)
    fit = image_fit(noisy_images(plan, opened))
    arrays = request_arrays(name, coder, getattr(fit, _BY_STATISTIC[name]), fit.view.framed)
    told: dict[str, object] = {}
    if name == IMAGE_SUMS[0]:
        told = {"frames": fit.view.framed, "scores": [round(score, 4) for score in fit.view.scores]}
    elif name == IMAGE_SUMS[2]:
        told = {"directions": fit.basis.shape[1]}
    elif name == IMAGE_SUMS[3]:
        told = {"groups": fit.num_groups}
    return Design(arrays=arrays, told={"images": told} if told else {})


def image_fit(statistics: NoisyImages) -> ImageFit:
    """Returns what follows from the sums over images that are there.

    Raises:
      StudyError: the plan's records have no images.
    """
    plan, coder = statistics.plan, statistics.plan.coder
    if not isinstance(coder, ImageCoder):
        raise StudyError("the plan's records have no images")
    phases = [
        phase
        for phase in plan.phases
        if isinstance(phase, StatisticPhase) and phase.statistic not in VOTES
    ]
    sites = len(statistics.images[0].sites)
    return ImageFit(
        coder.shape,
        statistics.class_counts(),
        [NoisyTotal(values=opened.values(), std=opened.stds[0]) for opened in statistics.images],
        coordinates=MOST_COORDINATES,
        directions=MOST_DIRECTIONS,
        groups=MOST_GROUPS,
        group_noise=phases[-1].noise_multiplier * spread_of(plan, sites),
    )
