"""Is this plan what fedloom would have made of its study? Asked wherever a plan comes from outside.

A plan travels as a file. Whoever wrote it could state a norm, a query or a schema's digest that is
not the true one, and a price computed from such a plan would be a false one. So everything but
the noise is filled in again from the plan's own settings, and must come out the same; the price
is computed again from the noise.
"""

from __future__ import annotations

import math
import re
from typing import Any

import fedloom
from fedloom.common.digest import canonical_json
from fedloom.common.errors import ConfigError, StudyError, VerificationError
from fedloom.common.schema import Schema
from fedloom.common.study import parse_study
from fedloom.privacy.plan import Plan
from fedloom.privacy.resolve import LOOK, PAIRS, assemble

__all__ = ["check_plan"]

_REMEDY = "have the coordinator resolve the study again with this version of fedloom"
_DERIVED_OF_TRAINING = ("query", "normaliser", "noise_multiplier", "lattice_unit")
_DERIVED_OF_EVALUATION = ("noise_multiplier", "histograms")
_TOLERANCE = 1e-6
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
# Whatever a body of the wrong shape can raise on its way through study, schema and accountant.
_UNFIT = (
    ConfigError,
    VerificationError,
    KeyError,
    TypeError,
    ValueError,
    ArithmeticError,
    AttributeError,
    IndexError,
    RecursionError,
)


def check_plan(plan: Plan) -> None:
    """Fills the plan in again from its settings and compares.

    Raises:
      StudyError: a part is missing, unknown, out of range or not what follows from the rest; the
        plan was made by another minor version; or its price is not what its rounds cost.
    """
    try:
        complaint = _difference(plan, _again(plan))
    except _UNFIT as error:
        raise StudyError(f"the plan cannot be a plan of a study: {error}; {_REMEDY}") from error
    if complaint is not None:
        raise StudyError(f"{complaint}; {_REMEDY}")


def _difference(plan: Plan, again: Plan) -> str | None:
    """Says where the plan is not what it should be; None where it is."""
    stated, true = dict(plan.body), dict(again.body)
    price, true_price = stated.pop("price"), true.pop("price")
    for key in sorted(stated):
        if canonical_json(stated[key]) != canonical_json(true[key]):
            return f"the plan's part {key!r} is not what follows from its settings"
    if set(price) != set(true_price) or not all(
        _close(price[key], true_price[key]) for key in true_price
    ):
        return f"the plan states the price {price}, its rounds cost {true_price}"
    if true_price["epsilon"] > plan.epsilon * (1 + _TOLERANCE):
        return (
            f"the plan's rounds cost epsilon {true_price['epsilon']:.6g}, above the study's "
            f"{plan.epsilon:g}"
        )
    return None


def _again(plan: Plan) -> Plan:
    body = plan.body
    if set(body["study"]) != {"name", "target", "digest"}:
        raise StudyError("its part 'study' has unknown or missing keys")
    schema = Schema.from_dict(body["schema"])
    study = parse_study(_raw(body), schema, where="plan")
    again = assemble(study, schema, version=fedloom.__version__, noise=_stated_noise(body)).body
    # The study's own digest is of the file, which left out what had defaults.
    again["study"]["digest"] = _digest_of_study(body)
    return Plan(again)


def _stated_noise(body: dict[str, Any]) -> dict[str, float]:
    rounds = body["statistics"]["rounds"]
    noise = {
        name: _noise(settings["noise_multiplier"])
        for name, settings in zip((LOOK, PAIRS), rounds, strict=False)
    }
    for phase in ("training", "evaluation"):
        if body[phase] is not None:
            noise[phase] = _noise(body[phase]["noise_multiplier"])
    return noise


def _raw(body: dict[str, Any]) -> dict[str, Any]:
    """Returns the study file that says everything the plan says."""
    privacy = dict(body["privacy"])
    privacy.pop("neighbouring")
    statistics = _without(body["statistics"], ("rounds",))
    training = _without(body["training"], _DERIVED_OF_TRAINING)
    evaluation = _without(body["evaluation"], _DERIVED_OF_EVALUATION)
    target = body["study"]["target"]
    return {
        "study": {
            "name": body["study"]["name"],
            "schema": "schema.toml",
            **({} if target is None else {"target": target}),
        },
        "privacy": privacy,
        "model": body["model"],
        "statistics": statistics,
        "training": {**training, **body["coordination"]},
        "evaluation": evaluation,
        "release": body["release"],
        "site": [
            {key.replace("_", "-"): value for key, value in site.items() if value is not None}
            for site in body["sites"]
        ],
    }


def _without(section: dict[str, Any] | None, derived: tuple[str, ...]) -> dict[str, Any]:
    return {key: value for key, value in (section or {}).items() if key not in derived}


def _digest_of_study(body: dict[str, Any]) -> str:
    stated = body["study"]["digest"]
    if not isinstance(stated, str) or not _SHA256.match(stated):
        raise StudyError("its study's digest is not a SHA-256")
    return stated


def _noise(value: Any) -> float:
    if type(value) is not float or not math.isfinite(value) or value <= 0:
        raise StudyError(f"the noise multiplier {value!r} must be a finite number above 0")
    return value


def _close(stated: Any, true: float) -> bool:
    return type(stated) is float and math.isclose(stated, true, rel_tol=_TOLERANCE)
