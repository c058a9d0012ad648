"""Is this plan what fedloom would have made of its study? Asked wherever a plan comes from outside.

A plan travels as a file. Whoever wrote it could state a norm, a query or a share that is not the
true one, and a price computed from such a plan would be a false one. So everything but the noise
is resolved again from the plan's own settings, and must come out the same; the price is computed
again from the noise.
"""

from __future__ import annotations

import math

from fedloom.common.digest import canonically_equal
from fedloom.common.errors import ConfigError, StudyError, VerificationError
from fedloom.common.study import EvaluationSettings, Study, parse_study
from fedloom.common.typed import plain
from fedloom.common.version import VERSION
from fedloom.privacy.plan import Plan
from fedloom.privacy.plan_version import check_version
from fedloom.privacy.resolve import again, replaced

__all__ = ["check_plan", "study_of"]

_REMEDY = "have the coordinator resolve the study again with this version of fedloom"
_TOLERANCE = 1e-6


def check_plan(plan: Plan) -> None:
    """Resolves the plan again from its settings and compares.

    Raises:
      OtherVersionError: the plan was made by another minor version.
      StudyError: a part is out of range or not what follows from the rest; or its price is not
        what its rounds cost.
    """
    check_version(plan.fedloom)
    try:
        true = again(study_of(plan), plan.schema, plan.phases, version=VERSION)
        complaint = _difference(plan, true)
    except (ConfigError, VerificationError, ArithmeticError, ValueError) as error:
        raise StudyError(f"the plan cannot be a plan of a study: {error}; {_REMEDY}") from error
    if complaint is not None:
        raise StudyError(f"{complaint}; {_REMEDY}")


def _difference(plan: Plan, true: Plan) -> str | None:
    """Says where the plan is not what it should be; None where it is."""
    # The study's own digest is of the file, which left out what had defaults.
    true = replaced(true, study_digest=plan.study_digest)
    stated_parts, true_parts = plan.to_dict(), true.to_dict()
    del stated_parts["price"], true_parts["price"]
    for key, part in stated_parts.items():
        if not canonically_equal(part, true_parts[key]):
            return f"the plan's part {key!r} is not what follows from its settings"
    stated, cost = plan.stated_price, true.stated_price
    same = stated.delta == cost.delta and all(
        math.isclose(one, other, rel_tol=_TOLERANCE)
        for one, other in (
            (stated.epsilon, cost.epsilon),
            (stated.epsilon_rdp, cost.epsilon_rdp),
        )
    )
    if not same:
        return (
            f"the plan states epsilon {stated.epsilon:.6g} at delta {stated.delta:g}, its rounds "
            f"cost {cost.epsilon:.6g} at {cost.delta:g}"
        )
    if cost.epsilon > plan.privacy.epsilon * (1 + _TOLERANCE):
        return (
            f"the plan's rounds cost epsilon {cost.epsilon:.6g}, above the study's "
            f"{plan.privacy.epsilon:g}"
        )
    return None


def study_of(plan: Plan) -> Study:
    """Returns the study that says everything the plan says, read as its file would be.

    Raises:
      StudyError: no study says that.
    """
    training, evaluation = plan.training, plan.evaluation
    rounds = {}
    if training is not None:
        exchange = training.settings.exchange.value
        rounds = {**plain(training.settings), "exchange": exchange}
    scores = EvaluationSettings()
    if evaluation is not None:
        scores = EvaluationSettings(share=evaluation.share, hold_back=evaluation.hold_back)
    raw = {
        "study": {"name": plan.name, "schema": "schema.toml", "target": plan.target},
        "privacy": plain(plan.privacy),
        "model": plan.model.to_dict(),
        "statistics": plain(plan.statistics_settings),
        "training": rounds,
        "coordination": plain(plan.coordination),
        "evaluation": plain(scores),
        "release": plain(plan.release),
        "coordinator": plain(plan.coordinator),
        "site": [plain(site) for site in plan.sites],
    }
    if plan.public is not None:
        raw["public"] = plain(plan.public)
    return parse_study(raw, plan.schema, where="the plan")
