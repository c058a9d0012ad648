"""How a vault computes each answer from its records.

Each function here is one query of the design: it takes records, calls the mechanism that gives
the guarantee and returns arrays that may leave. Nothing else at a site touches records.

The answers to `statistic`, `gradient` and `evaluate` are one array `sum` of integers in lattice
units. With a secure sum a site's part holds only its share of the noise, so it goes through
`seal`, which masks it, before it is returned to anybody.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fedloom.client.records import Records, Snapshot
from fedloom.common.messages import Request
from fedloom.common.scores import Evaluation
from fedloom.common.statistics import statistic
from fedloom.privacy.mechanisms.statistic import noisy_sum
from fedloom.privacy.noise import NoiseSource
from fedloom.privacy.plan import Plan

__all__ = ["Arrays", "Seal", "answer_arrays"]

Arrays = dict[str, np.ndarray[Any, np.dtype[Any]]]
Seal = Callable[[np.ndarray[Any, np.dtype[Any]]], np.ndarray[Any, np.dtype[Any]]]


def answer_arrays(
    plan: Plan,
    request: Request,
    snapshot: Snapshot,
    noise: NoiseSource,
    *,
    device: str,
    seal: Seal,
) -> Arrays:
    """Computes the arrays of one answer.

    Guarantee: the event of `plan.rounds[request.round - 1]`, under adding or removing one unit;
    see the mechanism that the query names. With a secure sum the guarantee is that of the sum
    over the roster, and `seal` hides the part that is returned.

    Args:
      plan: the approved plan.
      request: checked against the plan.
      snapshot: the private records; held-back units are in no query but `evaluate`.
      noise: the site's source of noise.
      device: where torch computes, such as "cpu" or "cuda:0".
      seal: masks a sum's integers, or leaves them as they are in local trust.
    """
    num_shares = 1 if plan.colluding is None else len(request.roster) - plan.colluding
    if request.query == "statistic":
        return {"sum": seal(_statistic(plan, request, snapshot.training, noise, num_shares))}
    if request.query == "evaluate":
        return {"sum": seal(_evaluate(plan, request, snapshot.held_back, noise, num_shares))}
    if request.query == "gradient":
        part = _gradient(plan, request, snapshot.training, noise, num_shares, device)
        return {"sum": seal(part)}
    return _train(plan, request, snapshot.training, noise, device)


def _statistic(
    plan: Plan, request: Request, records: Records, noise: NoiseSource, num_shares: int
) -> np.ndarray[Any, np.dtype[Any]]:
    params = request.params
    if plan.learns_schema:
        total = plan.discovery.sum(records.feature_codes)
    else:
        measured = statistic(params["kind"], plan.encoding, request.arrays.get("groups"))
        total = measured.sum(records.feature_codes, records.classes)
    return noisy_sum(
        total,
        l2_norm=params["l2_norm"],
        noise_multiplier=params["noise_multiplier"],
        noise=noise,
        unit=params["lattice_unit"],
        num_shares=num_shares,
    )


def _evaluate(
    plan: Plan, request: Request, records: Records, noise: NoiseSource, num_shares: int
) -> np.ndarray[Any, np.dtype[Any]]:
    sums = Evaluation(plan.encoding).sums(records.feature_codes, records.classes, request.arrays)
    parts = [
        noisy_sum(
            sums[histogram["name"]],
            l2_norm=histogram["l2_norm"],
            noise_multiplier=histogram["noise_multiplier"],
            noise=noise,
            unit=histogram["lattice_unit"],
            num_shares=num_shares,
        )
        for histogram in request.params["histograms"]
    ]
    return np.concatenate(parts)


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
        persons=records.persons,
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
    plan: Plan,
    request: Request,
    records: Records,
    noise: NoiseSource,
    num_shares: int,
    device: str,
) -> np.ndarray[Any, np.dtype[Any]]:
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
        persons=records.persons,
        sample_rate=params["sample_rate"],
        noise_multiplier=params["noise_multiplier"],
        max_grad_norm=params["max_grad_norm"],
        engine=params["engine"],
        max_physical_batch=params["max_physical_batch"],
        unit=params["lattice_unit"],
        num_shares=num_shares,
        noise=noise,
    )
