"""The sections of a plan that follow from a study's: defaults filled in, ranges checked.

Nothing here depends on noise: what does, sensitivities and lattices, is filled in by
`fedloom.privacy.resolve` once the noise is known.
"""

from __future__ import annotations

import math
from typing import Any

from fedloom.common.encoding import Encoding
from fedloom.common.errors import StudyError
from fedloom.common.models.defaults import model_defaults, training_defaults
from fedloom.common.study import Study
from fedloom.common.study_sections import LEAST_SECURE_SITES, default_exchange

__all__ = [
    "discovery_section",
    "evaluation_section",
    "model_section",
    "statistics_section",
    "training_section",
]

_TIMEOUT_S = 3600.0
# Of the budget, for the statistics before training; docs/decisions/ tells on which tables.
_SHARES = {"oneway": 0.35, "pairwise": 0.8}
_LOOK_SHARE_OF_MIXTURE = 0.25
_LOOK_SHARE = 0.5
_MEMORY_MB = 200
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
    "share": (1e-4, 1 - 1e-4),  # what is left is for the other phases
    "look_share": (1e-4, 1 - 1e-4),
    "memory_mb": (1, 16_384),
    "spare_rounds": (0, 100_000),
    "hold_back": (1e-3, 0.5),
}
_MOST_STEPS = 1_000_000
# A site's expected batch is divided by a public number. The optimisers do not depend on its
# scale, so where no size is declared a nominal one serves every site alike.
_NOMINAL_RECORDS = 1000
# Void attempts of a secure sum are made good from these, as a part of all rounds.
_SPARES = 0.05
_EVALUATION = {"share": 0.0, "hold_back": 0.1}


def model_section(study: Study) -> dict[str, Any]:
    """Returns kind and settings of the model.

    Raises:
      StudyError: a setting is unknown or out of range.
    """
    model = _merge(model_defaults(study.model["kind"]), study.model, "[model]")
    _check_ranges(model, "[model]")
    return model


def evaluation_section(study: Study) -> dict[str, Any] | None:
    """Returns how many units are held back and their share of the budget; None for no share.

    Raises:
      StudyError: a setting is unknown or out of range.
    """
    merged = _merge(_EVALUATION, study.evaluation, "[evaluation]")
    if merged["share"] == 0.0:
        return None
    _check_ranges(merged, "[evaluation]")
    return merged


def statistics_section(
    study: Study, encoding: Encoding, evaluation: dict[str, Any] | None
) -> dict[str, Any]:
    """Returns kind, shares and limits of the statistics phase.

    Raises:
      StudyError: a setting is unknown, out of range, or does not fit the model.
    """
    kind = study.model["kind"]
    alone = kind == "mixture"
    left = 1.0 - (0.0 if evaluation is None else evaluation["share"])
    counted = "pairwise" if alone else study.statistics.get("kind", "oneway")
    defaults = {
        "kind": counted,
        "share": left if alone else _SHARES.get(counted, 0.0),
        "look_share": _LOOK_SHARE_OF_MIXTURE if alone else _LOOK_SHARE,
        "memory_mb": _MEMORY_MB,
        "spare_rounds": 0,
    }
    merged = _merge(defaults, study.statistics, "[statistics]")
    if alone and (merged["kind"] != "pairwise" or merged["share"] != left):
        raise StudyError(
            'a "mixture" is made from the pairwise statistics alone; drop [statistics] kind and '
            "share"
        )
    if merged["kind"] not in ("oneway", "pairwise"):
        raise StudyError('[statistics] kind must be "oneway" or "pairwise"')
    if len(encoding.features) < 2:
        merged["kind"] = "oneway"  # one column has no pairs
    _check_ranges({key: value for key, value in merged.items() if key != "share"}, "[statistics]")
    if not alone:
        _check_ranges({"share": merged["share"]}, "[statistics]")
        if merged["share"] >= left:
            raise StudyError(
                f"[statistics] share = {merged['share']} and [evaluation] leave nothing for "
                "training"
            )
    return merged


def discovery_section(study: Study) -> dict[str, Any]:
    """Returns the statistics phase of a study of kind "schema": one sum, the whole budget.

    Raises:
      StudyError: a setting is unknown or out of range, or says what such a study does not have.
    """
    if study.target is not None or study.release or study.evaluation:
        raise StudyError(
            'a study of kind "schema" learns open columns and nothing else; drop target, '
            "[evaluation] and [release], which belong to the study on the completed schema"
        )
    defaults = {"kind": "discovery", "share": 1.0, "spare_rounds": 0}
    merged = _merge(defaults, study.statistics, "[statistics]")
    if merged["kind"] != "discovery" or merged["share"] != 1.0:
        raise StudyError('kind = "schema" has one sum; drop [statistics] kind and share')
    _check_ranges({"spare_rounds": merged["spare_rounds"]}, "[statistics]")
    return merged


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


def training_section(study: Study) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """Returns settings of the training rounds, None without any, and quorum and time-out.

    Raises:
      StudyError: a setting is unknown, out of range, or does not fit model or trust.
    """
    kind = str(study.model["kind"])
    given = dict(study.training)
    num_sites = len(study.sites)
    # Of a roster, the coordinator's friends set aside, two honest sites must remain.
    masked = study.trust == "secure-sum"
    fewest = max(LEAST_SECURE_SITES, study.colluding + 2) if masked else 1
    coordination = _merge(
        {"min_sites": max(fewest, math.ceil(2 * num_sites / 3)), "timeout_s": _TIMEOUT_S},
        {key: given.pop(key) for key in ("min_sites", "timeout_s") if key in given},
        "[training]",
    )
    if not fewest <= coordination["min_sites"] <= num_sites:
        raise StudyError(
            f"[training] min_sites = {coordination['min_sites']} must lie between {fewest} and the "
            f"number of sites, {num_sites}"
        )
    if coordination["timeout_s"] <= 0:
        raise StudyError("[training] timeout_s must be above 0")
    _check_ranges(coordination, "[training]")
    if kind in ("mixture", "schema"):
        given.pop("exchange", None)
        if given:
            raise StudyError(
                f'kind = "{kind}" has no training rounds; drop [training] '
                f"{', '.join(sorted(given))}"
            )
        return None, coordination
    exchange = given.pop("exchange", default_exchange(study.trust))
    defaults = {**training_defaults(kind, exchange), "spare_rounds": 0}
    if study.unit == "person":
        defaults["engine"] = "fused"
    merged = _merge(defaults, given, "[training]")
    if study.trust == "secure-sum" and "spare_rounds" not in given:
        merged["spare_rounds"] = max(1, math.ceil(_SPARES * merged["num_rounds"]))
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
    if study.unit == "person" and merged["engine"] == "opacus":
        raise StudyError('unit = "person" needs [training] engine = "fused"')
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
