"""What the coordinator learns from noisy answers, one learner for each kind of model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedloom.common.errors import StudyError
from fedloom.server.learners.base import Learner, State

if TYPE_CHECKING:
    from fedloom.privacy.plan import Plan

__all__ = ["Learner", "State", "build_learner"]


def build_learner(plan: Plan) -> Learner:
    """Returns the learner of a plan's model.

    Raises:
      StudyError: no such kind of model exists.
    """
    kind = plan.model["kind"]
    if kind == "mixture":
        from fedloom.server.learners.mixture import MixtureLearner

        return MixtureLearner(plan.model, plan.encoding)
    if plan.training is None:
        raise StudyError(f'model kind "{kind}" needs training rounds, the plan has none')
    # The noises of sites add up only where each of them brings its own in full.
    num_sites = len(plan.sites) if plan.privacy["trust"] == "local" else 1
    if kind == "vae":
        from fedloom.server.learners.vae import VaeLearner

        return VaeLearner(plan.model, plan.training, plan.encoding, num_sites=num_sites)
    if kind == "gan":
        from fedloom.server.learners.gan import GanLearner

        return GanLearner(plan.model, plan.training, plan.encoding, num_sites=num_sites)
    raise StudyError(f'model kind = {kind!r}; choose "vae", "gan" or "mixture"')
