"""What the coordinator learns from noisy answers, one learner for each kind of model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedloom.common.errors import StudyError
from fedloom.common.parts import load_part
from fedloom.server.learners.learner import Learner, State

if TYPE_CHECKING:
    from fedloom.privacy.plan import Plan

__all__ = ["Learner", "State", "build_learner"]


def build_learner(plan: Plan) -> Learner:
    """Returns the learner of a plan's model, as its kind's entry names it.

    Raises:
      StudyError: the kind makes no generator.
    """
    if plan.kind.learner is None:
        raise StudyError(f'kind = "{plan.model.kind}" makes no generator')
    # The noises of sites add up only where each of them brings its own in full.
    num_sites = 1 if plan.privacy.masked else len(plan.sites)
    learner: Learner = load_part(plan.kind.learner)(
        plan.model, plan.training, plan.coder, num_sites=num_sites
    )
    return learner
