"""From a study to its plan: defaults filled in, noise calibrated, size and price checked.

Everything here is computed from public values: study, schema, defaults. The phases' noise
stands in a fixed proportion (each phase's own noise at the full budget over the square root of
its share), and one common scale is calibrated so that the composition of all phases meets the
study's epsilon (PLD); the result is priced again at the finer interval and never exceeds it.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from pathlib import Path
from typing import Any

from dp_accounting import dp_event

from fedloom.common.digest import digest
from fedloom.common.encoding import Encoding
from fedloom.common.errors import StudyError
from fedloom.common.models.defaults import model_defaults, training_defaults
from fedloom.common.schema import Schema
from fedloom.common.statistics import statistic
from fedloom.common.study import Study
from fedloom.privacy.accounting import calibrate, gaussian, subsampled
from fedloom.privacy.plan import PLAN_FORMAT, Plan, price_of
from fedloom.privacy.plan_size import check_size

__all__ = ["assemble", "resolve_plan"]

# Chosen on RAND and looked at on Adult: docs/decisions/0003-what-differs-from-the-design.md.
_STATISTICS_SHARE = 0.2
_TIMEOUT_S = 3600.0
_SIGNIFICANT_DIGITS = 5
# Within these, sums of clipped gradients stay far from the end of a float's range.
_RANGES: dict[str, tuple[float, float]] = {
    "num_rounds": (1, 100_000),
    "local_steps": (1, 100_000),
    "max_grad_norm": (1e-3, 1e3),
    "max_physical_batch": (1, 65_536),
    "learning_rate": (1e-9, 1e3),
    "server_learning_rate": (1e-9, 1e3),
    "hidden": (1, 65_536),
    "latent": (1, 65_536),
    "critic_hidden": (1, 65_536),
    "components": (1, 100_000),
    "beta": (0, 1e3),
    "average_decay": (0, 1),
    "generator_decay": (0, 1),
    "generator_steps": (0, 100_000),
    "generator_learning_rate": (1e-9, 1e3),
    "critic_steps": (1, 100_000),
    "timeout_s": (0, 30 * 86_400),
    "share": (1e-4, 1 - 1e-4),  # what is left is for training
}
_MOST_STEPS = 1_000_000
# A site's expected batch is divided by a public number. The optimisers do not depend on its
# scale, so where no size is declared a nominal one serves every site alike.
_NOMINAL_RECORDS = 1000


def resolve_plan(
    study: Study, schema: Schema, *, version: str, where: str | Path = "study"
) -> Plan:
    """Resolves a study to its plan.

    Args:
      study: the agreement; its sites' keys join the plan.
      schema: the schema whose digest the study holds.
      version: fedloom's version; major and minor join the plan.
      where: name of the study's file, for messages.

    Returns:
      The plan, whose price is at most the study's epsilon at its delta.

    Raises:
      StudyError: a setting is unknown or out of range, the plan would need too much memory, or
        no noise meets the budget.
    """
    try:
        return _resolve(study, schema, version)
    except StudyError as error:
        raise StudyError(f"{where}: {error}") from error


def _resolve(study: Study, schema: Schema, version: str) -> Plan:
    statistics, training = _phases(study, schema)
    return assemble(study, schema, version=version, noise=_noise(study, statistics, training))


def _phases(study: Study, schema: Schema) -> tuple[dict[str, Any], dict[str, Any] | None]:
    encoding = Encoding(schema, study.target)
    return _statistics(study, encoding), _training(study, str(study.model["kind"]))[0]


def assemble(
    study: Study, schema: Schema, *, version: str, noise: tuple[float, float | None]
) -> Plan:
    """Fills in everything but the noise, and prices the whole.

    Args:
      study: the agreement.
      schema: the schema whose digest the study holds.
      version: fedloom's version.
      noise: noise multipliers of the statistics and of training; None without training.

    Raises:
      StudyError: a setting is unknown or out of range, or the plan would need too much memory.
    """
    if study.schema_digest != schema.digest():
        raise StudyError("the study was made for another schema; load both again")
    encoding = Encoding(schema, study.target)
    kind = study.model["kind"]
    model = _merge(model_defaults(kind), study.model, "[model]")
    _check_ranges(model, "[model]")
    statistics = _statistics(study, encoding)
    training, coordination = _training(study, kind)
    check_size(encoding, model, statistics, training)
    statistics["noise_multiplier"] = noise[0]
    if training is not None:
        training["noise_multiplier"] = noise[1]
    body: dict[str, Any] = {
        "format": PLAN_FORMAT,
        "fedloom": ".".join(version.split(".")[:2]),
        "study": {"name": study.name, "target": study.target, "digest": study.digest()},
        "schema": schema.to_dict(),
        "schema_digest": schema.digest(),
        "privacy": {
            "epsilon": study.epsilon,
            "delta": study.delta,
            "unit": study.unit,
            "trust": study.trust,
            "neighbouring": "add-or-remove-one",
        },
        "sites": [site.to_dict() for site in study.sites],
        "model": model,
        "statistics": statistics,
        "training": training,
        "release": study.release,
        "coordination": coordination,
        "price": {},
    }
    cost = price_of(Plan(body).event(), study.delta)
    body["price"] = {
        "epsilon": cost.epsilon,
        "epsilon_rdp": cost.epsilon_rdp,
        "delta": study.delta,
    }
    return Plan(body)


def _merge(defaults: dict[str, Any], given: dict[str, Any], where: str) -> dict[str, Any]:
    unknown = sorted(set(given) - set(defaults))
    if unknown:
        raise StudyError(
            f"{where} has the unknown key {unknown[0]!r}; known are {', '.join(sorted(defaults))}"
        )
    merged = dict(defaults)
    for key, value in given.items():
        expected = defaults[key]
        if isinstance(expected, float) and type(value) is int:
            value = float(value)
        if expected is not None and type(value) is not type(expected):
            raise StudyError(
                f"{where} {key} = {value!r} must be of the kind of its default {expected!r}"
            )
        if isinstance(value, int | float) and not isinstance(value, bool):
            if not math.isfinite(value) or value < 0:
                raise StudyError(f"{where} {key} = {value!r} must be a finite number, 0 or above")
        merged[key] = value
    return merged


def _check_ranges(settings: dict[str, Any], where: str) -> None:
    for key, (least, most) in _RANGES.items():
        if key in settings and not least <= settings[key] <= most:
            raise StudyError(
                f"{where} {key} = {settings[key]!r} must lie between {least:g} and {most:g}"
            )


def _statistics(study: Study, encoding: Encoding) -> dict[str, Any]:
    alone = study.model["kind"] == "mixture"
    defaults = {
        "kind": "pairwise" if alone else "oneway",
        "share": 1.0 if alone else _STATISTICS_SHARE,
    }
    merged = _merge(defaults, study.statistics, "[statistics]")
    if alone:
        if merged != defaults:
            raise StudyError(
                'a "mixture" is made from the pairwise statistics alone; drop [statistics]'
            )
    else:
        _check_ranges(merged, "[statistics]")
    measured = statistic(merged["kind"], encoding)
    return {**merged, "l2_norm": measured.l2_norm, "length": measured.length}


def _training(study: Study, kind: str) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    given = dict(study.training)
    num_sites = len(study.sites)
    coordination = _merge(
        {"min_sites": max(1, math.ceil(2 * num_sites / 3)), "timeout_s": _TIMEOUT_S},
        {key: given.pop(key) for key in ("min_sites", "timeout_s") if key in given},
        "[training]",
    )
    if not 1 <= coordination["min_sites"] <= num_sites:
        raise StudyError(
            f"[training] min_sites = {coordination['min_sites']} must lie between 1 and the "
            f"number of sites, {num_sites}"
        )
    if coordination["timeout_s"] <= 0:
        raise StudyError("[training] timeout_s must be above 0")
    _check_ranges(coordination, "[training]")
    if kind == "mixture":
        given.pop("exchange", None)
        if given:
            raise StudyError(
                f'a "mixture" has no training rounds; drop [training] {", ".join(sorted(given))}'
            )
        return None, coordination
    exchange = given.pop("exchange", "weights")
    merged = _merge(training_defaults(kind, exchange), given, "[training]")
    if not 0.0 < merged["sample_rate"] <= 1.0:
        raise StudyError("[training] sample_rate must lie above 0 and at most at 1")
    _check_ranges(merged, "[training]")
    if merged["num_rounds"] * merged["local_steps"] > _MOST_STEPS:
        raise StudyError(
            f"[training] num_rounds times local_steps must be at most {_MOST_STEPS}: "
            f"{merged['num_rounds']} times {merged['local_steps']} is more"
        )
    if merged.get("optimizer", "adam") not in ("adam", "sgd"):
        raise StudyError('[training] optimizer must be "adam" or "sgd"')
    if merged["engine"] not in ("opacus", "fused"):
        raise StudyError('[training] engine must be "opacus" or "fused"')
    if exchange == "gradients" and merged["local_steps"] != 1:
        raise StudyError('exchange = "gradients" takes one step a round; drop local_steps')
    merged["exchange"] = exchange
    merged["query"] = "train" if exchange == "weights" else "gradient"
    merged["normaliser"] = max(1.0, merged["sample_rate"] * _nominal_records(study))
    return merged, coordination


def _nominal_records(study: Study) -> float:
    declared = [site.records for site in study.sites if site.records is not None]
    if len(declared) < len(study.sites):
        return float(_NOMINAL_RECORDS)
    return sum(declared) / len(declared)


def _noise(
    study: Study, statistics: dict[str, Any], training: dict[str, Any] | None
) -> tuple[float, float | None]:
    """Finds the noise multipliers of statistics and training, or remembers them."""
    key = digest(
        {
            "v": PLAN_FORMAT,
            "privacy": [study.epsilon, study.delta],
            "share": statistics["share"],
            "training": _accounted(training),
        }
    )
    found = _cached(key)
    if found is None or not _affordable(study, training, found):
        found = _search(study, statistics, training)
        _remember(key, found)
    return found[0], None if training is None else found[1]


def _accounted(training: dict[str, Any] | None) -> list[Any] | None:
    if training is None:
        return None
    return [training["sample_rate"], training["local_steps"] * training["num_rounds"]]


def _composed(training: dict[str, Any] | None, noise: tuple[float, float]) -> dp_event.DpEvent:
    parts = [gaussian(noise[0])]
    if training is not None:
        steps = training["local_steps"] * training["num_rounds"]
        parts.append(subsampled(training["sample_rate"], noise[1], steps))
    return dp_event.ComposedDpEvent(parts)


def _affordable(study: Study, training: dict[str, Any] | None, noise: tuple[float, float]) -> bool:
    return price_of(_composed(training, noise), study.delta).epsilon <= study.epsilon


def _search(
    study: Study, statistics: dict[str, Any], training: dict[str, Any] | None
) -> tuple[float, float]:
    base = calibrate(gaussian, study.epsilon, study.delta)
    if training is None:
        noise = (_round_up(base), 0.0)
    else:
        steps = training["local_steps"] * training["num_rounds"]
        rate = training["sample_rate"]
        alone = calibrate(lambda scale: subsampled(rate, scale, steps), study.epsilon, study.delta)
        share = statistics["share"]
        ratio = (base / math.sqrt(share), alone / math.sqrt(1.0 - share))
        scale = calibrate(
            lambda scale: _composed(training, (ratio[0] * scale, ratio[1] * scale)),
            study.epsilon,
            study.delta,
        )
        noise = (_round_up(ratio[0] * scale), _round_up(ratio[1] * scale))
    if not _affordable(study, training, noise):
        raise StudyError(
            f"no noise was found that meets epsilon = {study.epsilon} at delta = {study.delta}; "
            "ask for fewer rounds or a larger epsilon"
        )
    return noise


def _round_up(value: float) -> float:
    """Rounds up to a few significant digits: more noise, never less."""
    unit = 10.0 ** (math.floor(math.log10(value)) - _SIGNIFICANT_DIGITS + 1)
    return float(f"{math.ceil(value / unit) * unit:.{_SIGNIFICANT_DIGITS}g}")


def _cache_path(key: str) -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or os.path.join(Path.home(), ".cache")
    return Path(root) / "fedloom" / "noise" / f"{key}.json"


def _cached(key: str) -> tuple[float, float] | None:
    """Returns noise found earlier; the caller prices it again before it trusts it."""
    try:
        first, second = json.loads(_cache_path(key).read_text(encoding="utf-8"))
        return float(first), float(second)
    except (OSError, ValueError, TypeError):
        return None


def _remember(key: str, noise: tuple[float, float]) -> None:
    path = _cache_path(key)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            json.dump(noise, stream)
        os.replace(name, path)
    except OSError:
        return  # a cache that cannot be written only costs the next search its time
