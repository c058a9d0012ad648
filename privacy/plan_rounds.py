"""The rounds of a plan: what each asks of every site, and the event that it costs.

Rounds come in this order: one or two statistics rounds, the training rounds, the evaluation.
Events are those of a unit that has records at as many sites as the plan allows (`overlap`, m).

In local trust such a unit takes part in m answers, each with its own noise: m mechanisms. In a
secure sum it takes part in one sum at m places. The noise N(0, s^2) of that sum is distributed
as the sum of m independent N(0, s^2 / m), one for each place; the sum of the m noised parts is
post-processing of the parts, so its event is that of m mechanisms with the noise multiplier
divided by the square root of m.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dp_accounting import dp_event

from fedloom.privacy.events import compose, gaussian, repeat, subsampled

__all__ = ["RoundQuery", "overlapping", "plan_event", "plan_rounds"]

_ASKED_OF_SITES = (
    "sample_rate",
    "noise_multiplier",
    "max_grad_norm",
    "local_steps",
    "learning_rate",
    "optimizer",
    "normaliser",
    "engine",
    "max_physical_batch",
    "lattice_unit",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundQuery:
    """What one round of the plan asks of every site.

    Attributes:
      round: number of the round, from 1.
      query: "statistic", "train", "gradient" or "evaluate".
      params: exactly what the request's parameters must be.
      event: what one answer costs.
    """

    round: int
    query: str
    params: dict[str, Any]
    event: dp_event.DpEvent


def overlapping(
    event_at: Callable[[float], dp_event.DpEvent],
    noise_multiplier: float,
    *,
    overlap: int,
    trust: str,
) -> dp_event.DpEvent:
    """Returns what one round costs a unit with records at `overlap` sites; see the module.

    Args:
      event_at: the event of one answer at a noise multiplier.
      noise_multiplier: of the sum over sites, or of each answer in local trust.
      overlap: number of sites, from 1.
      trust: "local" or "secure-sum".
    """
    if overlap == 1:
        return event_at(noise_multiplier)
    own = noise_multiplier / math.sqrt(overlap) if trust == "secure-sum" else noise_multiplier
    return repeat(event_at(own), overlap)


def plan_rounds(body: dict[str, Any]) -> tuple[RoundQuery, ...]:
    """Returns all rounds of a plan's body, spare ones left out."""
    rounds: list[RoundQuery] = []

    def add(query: str, params: dict[str, Any], event: dp_event.DpEvent) -> None:
        rounds.append(
            RoundQuery(round=len(rounds) + 1, query=query, params=dict(params), event=event)
        )

    for settings in body["statistics"]["rounds"]:
        add("statistic", settings, _statistic_event(body, settings))
    training = body["training"]
    if training is not None:
        asked = {key: training[key] for key in _ASKED_OF_SITES if key in training}
        event = _training_event(body, training["local_steps"])
        for _ in range(training["num_rounds"]):
            add(training["query"], asked, event)
    evaluation = body["evaluation"]
    if evaluation is not None:
        params = {key: value for key, value in evaluation.items() if key != "share"}
        add("evaluate", params, _evaluation_event(body, evaluation))
    return tuple(rounds)


def plan_event(body: dict[str, Any]) -> dp_event.DpEvent:
    """Returns the event of all rounds of a plan's body, spare ones included."""
    attempts = 1 + body["statistics"]["spare_rounds"]
    parts = [
        _repeated(_statistic_event(body, settings), attempts)
        for settings in body["statistics"]["rounds"]
    ]
    training, evaluation = body["training"], body["evaluation"]
    if training is not None:
        rounds = training["num_rounds"] + training["spare_rounds"]
        parts.append(_training_event(body, training["local_steps"] * rounds))
    if evaluation is not None:
        parts.append(_evaluation_event(body, evaluation))
    return compose(parts)


def _repeated(event: dp_event.DpEvent, count: int) -> dp_event.DpEvent:
    return event if count == 1 else repeat(event, count)


def _of_overlap(
    body: dict[str, Any], event_at: Callable[[float], dp_event.DpEvent], noise_multiplier: float
) -> dp_event.DpEvent:
    privacy = body["privacy"]
    return overlapping(
        event_at, noise_multiplier, overlap=privacy["overlap"], trust=privacy["trust"]
    )


def _statistic_event(body: dict[str, Any], settings: dict[str, Any]) -> dp_event.DpEvent:
    return _of_overlap(body, gaussian, settings["noise_multiplier"])


def _training_event(body: dict[str, Any], steps: int) -> dp_event.DpEvent:
    training = body["training"]
    rate = training["sample_rate"]
    return _of_overlap(
        body, lambda noise: subsampled(rate, noise, steps), training["noise_multiplier"]
    )


def _evaluation_event(body: dict[str, Any], evaluation: dict[str, Any]) -> dp_event.DpEvent:
    event = _of_overlap(body, gaussian, evaluation["noise_multiplier"])
    return _repeated(event, len(evaluation["histograms"]))
