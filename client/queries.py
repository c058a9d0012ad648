"""How a vault computes each answer from its records.

Each function here is one query of the design: it takes records, calls the mechanism that gives
the guarantee and returns arrays that may leave. Nothing else at a site touches records.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fedloom.client.records import Records
from fedloom.common.messages import Request
from fedloom.common.statistics import statistic
from fedloom.privacy.mechanisms.statistic import noisy_sum
from fedloom.privacy.noise import NoiseSource
from fedloom.privacy.plan import Plan

__all__ = ["answer_arrays"]

Arrays = dict[str, np.ndarray[Any, np.dtype[Any]]]


def answer_arrays(
    plan: Plan, request: Request, records: Records, noise: NoiseSource, *, device: str
) -> Arrays:
    """Computes the arrays of one answer.

    Guarantee: the event of `plan.rounds[request.round - 1]`, under adding or removing one
    record; see the mechanism that the query names.

    Args:
      plan: the approved plan.
      request: checked against the plan.
      records: the private records.
      noise: the site's source of noise.
      device: where torch computes, such as "cpu" or "cuda:0".
    """
    if request.query == "statistic":
        return _statistic(plan, records, noise)
    if request.query == "train":
        return _train(plan, request, records, noise, device)
    return _gradient(plan, request, records, noise, device)


def _statistic(plan: Plan, records: Records, noise: NoiseSource) -> Arrays:
    settings = plan.statistics
    measured = statistic(settings["kind"], plan.encoding)
    total = measured.sum(records.feature_codes, records.classes)
    noised = noisy_sum(
        total,
        l2_norm=measured.l2_norm,
        noise_multiplier=settings["noise_multiplier"],
        noise=noise,
    )
    return {"sum": noised}


def _train(
    plan: Plan, request: Request, records: Records, noise: NoiseSource, device: str
) -> Arrays:
    from fedloom.common.models import build_model
    from fedloom.privacy.mechanisms.training import private_training

    model = build_model(plan.model, plan.encoding)
    params = request.params
    module, public = model.restore(request.arrays)
    return private_training(
        module.to(device),
        model,
        records.feature_codes,
        records.classes,
        public,
        local_steps=params["local_steps"],
        sample_rate=params["sample_rate"],
        noise_multiplier=params["noise_multiplier"],
        max_grad_norm=params["max_grad_norm"],
        learning_rate=params["learning_rate"],
        normaliser=params["normaliser"],
        optimizer=params["optimizer"],
        engine=params["engine"],
        max_physical_batch=params["max_physical_batch"],
        noise=noise,
    )


def _gradient(
    plan: Plan, request: Request, records: Records, noise: NoiseSource, device: str
) -> Arrays:
    from fedloom.common.models import build_model
    from fedloom.privacy.mechanisms.gradient import noisy_gradient

    model = build_model(plan.model, plan.encoding)
    params = request.params
    module, public = model.restore(request.arrays)
    return noisy_gradient(
        module.to(device),
        model,
        records.feature_codes,
        records.classes,
        public,
        sample_rate=params["sample_rate"],
        noise_multiplier=params["noise_multiplier"],
        max_grad_norm=params["max_grad_norm"],
        engine=params["engine"],
        max_physical_batch=params["max_physical_batch"],
        noise=noise,
    )
