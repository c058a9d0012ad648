"""Privacy events: what a mechanism did to private records, as values and as JSON.

A `DpEvent` is a Gaussian, a Poisson-subsampled Gaussian, or a composition of those; any other
event is refused, on the way in and on the way out. Ledgers and plans store events, never
epsilons, so that the whole life of a table can be accounted at once.

Every event here is a multiset of `Step`s (sampling rate, noise multiplier), which is all that
accountants and budgets look at.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import dp_accounting
from dp_accounting import DpEvent

from fedloom.common.errors import ConfigError, LedgerError

__all__ = [
    "DpEvent",
    "Step",
    "compose",
    "event_from_json",
    "event_to_json",
    "gaussian",
    "no_event",
    "repeat",
    "steps_of",
    "subsampled",
]

_MAX_COUNT = 2**40
_MAX_DEPTH = 8

_FIELDS = {
    "NoOpDpEvent": (),
    "GaussianDpEvent": ("noise_multiplier",),
    "PoissonSampledDpEvent": ("sampling_probability", "event"),
    "SelfComposedDpEvent": ("event", "count"),
    "ComposedDpEvent": ("events",),
}


class Step(NamedTuple):
    """One use of the Gaussian mechanism; a sample rate of 1 means no subsampling."""

    sample_rate: float
    noise_multiplier: float


def gaussian(noise_multiplier: float) -> DpEvent:
    """Returns the event of one sum with L2 sensitivity 1 and noise of that standard deviation."""
    return dp_accounting.GaussianDpEvent(float(noise_multiplier))


def subsampled(sample_rate: float, noise_multiplier: float, steps: int) -> DpEvent:
    """Returns the event of `steps` noisy sums, each over its own Poisson sample of the units."""
    sampled = dp_accounting.PoissonSampledDpEvent(float(sample_rate), gaussian(noise_multiplier))
    return repeat(sampled, steps)


def repeat(event: DpEvent, count: int) -> DpEvent:
    """Returns the event of `count` uses of `event`."""
    return dp_accounting.SelfComposedDpEvent(event, int(count))


def compose(events: Iterable[DpEvent]) -> DpEvent:
    """Returns the event of all `events` together."""
    return dp_accounting.ComposedDpEvent(list(events))


def no_event() -> DpEvent:
    """Returns the event that touches no record."""
    return dp_accounting.NoOpDpEvent()


def event_to_json(event: DpEvent) -> dict[str, Any]:
    """Writes an event as a JSON-able dict: dp_accounting's class and field names.

    Raises:
      ConfigError: the event, or one inside it, is of a kind that fedloom does not account.

    >>> event_to_json(gaussian(2.0))
    {'class_name': 'GaussianDpEvent', 'noise_multiplier': 2.0}
    """
    return _write(event, 0)


def _write(event: DpEvent, depth: int) -> dict[str, Any]:
    name = type(event).__name__
    if depth > _MAX_DEPTH or type(event).__module__ != "dp_accounting.dp_event":
        raise ConfigError(f"expected a privacy event of dp_accounting, at most {_MAX_DEPTH} deep")
    match event:
        case dp_accounting.NoOpDpEvent():
            fields: dict[str, Any] = {}
        case dp_accounting.GaussianDpEvent(noise_multiplier=noise):
            fields = {"noise_multiplier": _positive(noise, ConfigError)}
        case dp_accounting.PoissonSampledDpEvent(sampling_probability=rate, event=inner):
            if not isinstance(inner, dp_accounting.GaussianDpEvent):
                raise ConfigError(f"expected a sampled Gaussian, got a sampled {type(inner)}")
            fields = {"sampling_probability": _rate(rate, ConfigError)}
            fields["event"] = _write(inner, depth + 1)
        case dp_accounting.SelfComposedDpEvent(event=inner, count=count):
            fields = {"event": _write(inner, depth + 1), "count": _count(count, ConfigError)}
        case dp_accounting.ComposedDpEvent(events=inners):
            fields = {"events": [_write(inner, depth + 1) for inner in inners]}
        case _:
            raise ConfigError(
                f"no accountant here covers the event {name}; use one of {[*_FIELDS]}"
            )
    return {"class_name": name, **fields}


def event_from_json(value: Any) -> DpEvent:
    """Reads an event that `event_to_json` wrote, and nothing else.

    Raises:
      LedgerError: an unknown class, a missing or unknown field, a number out of range.

    >>> event_from_json({"class_name": "GaussianDpEvent", "noise_multiplier": 2.0})
    GaussianDpEvent(noise_multiplier=2.0)
    """
    return _read(value, 0)


def _read(value: Any, depth: int) -> DpEvent:
    if not isinstance(value, Mapping) or depth > _MAX_DEPTH:
        raise LedgerError(f"expected a privacy event, at most {_MAX_DEPTH} deep")
    name = value.get("class_name")
    fields = _FIELDS.get(name) if isinstance(name, str) else None
    if fields is None:
        raise LedgerError(f"expected a privacy event of class {[*_FIELDS]}, got {name!r}")
    if set(value) != {"class_name", *fields}:
        raise LedgerError(f"expected the fields {[*fields]} of {name}, got {sorted(value)}")
    if name == "GaussianDpEvent":
        return gaussian(_positive(value["noise_multiplier"], LedgerError))
    if name == "PoissonSampledDpEvent":
        inner = _read(value["event"], depth + 1)
        if not isinstance(inner, dp_accounting.GaussianDpEvent):
            raise LedgerError("expected a GaussianDpEvent inside PoissonSampledDpEvent")
        rate = _rate(value["sampling_probability"], LedgerError)
        return dp_accounting.PoissonSampledDpEvent(rate, inner)
    if name == "SelfComposedDpEvent":
        return repeat(_read(value["event"], depth + 1), _count(value["count"], LedgerError))
    if name == "ComposedDpEvent":
        if not isinstance(value["events"], list):
            raise LedgerError("expected a list under `events` of ComposedDpEvent")
        return compose(_read(inner, depth + 1) for inner in value["events"])
    return no_event()


def _positive(value: Any, error: type[Exception]) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise error(f"expected a number in a privacy event, got {type(value).__name__}")
    if not (math.isfinite(value) and value > 0):
        raise error(f"expected a finite number above 0 in a privacy event, got {value}")
    return float(value)


def _rate(value: Any, error: type[Exception]) -> float:
    if _positive(value, error) > 1:
        raise error(f"expected a sampling probability of at most 1, got {value}")
    return float(value)


def _count(value: Any, error: type[Exception]) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _MAX_COUNT:
        raise error(f"expected a whole number of uses from 1 to 2^40, got {value!r}")
    return value


def steps_of(events: Iterable[DpEvent]) -> Counter[Step]:
    """Counts the steps that `events` are made of; the order and nesting no longer matter.

    Raises:
      ConfigError: an event is of a kind that fedloom does not account.

    >>> steps_of([gaussian(2.0), subsampled(0.1, 2.0, 3), subsampled(0.1, 2.0, 4)])
    Counter({Step(sample_rate=0.1, noise_multiplier=2.0): 7, Step(sample_rate=1.0, \
noise_multiplier=2.0): 1})
    """
    counts: Counter[Step] = Counter()
    for event in events:
        event_to_json(event)
        _count_steps(event, 1, counts)
    return counts


def _count_steps(event: DpEvent, times: int, counts: Counter[Step]) -> None:
    match event:
        case dp_accounting.GaussianDpEvent(noise_multiplier=noise):
            counts[Step(1.0, float(noise))] += times
        case dp_accounting.PoissonSampledDpEvent(sampling_probability=rate, event=inner):
            counts[Step(float(rate), float(inner.noise_multiplier))] += times
        case dp_accounting.SelfComposedDpEvent(event=inner, count=count):
            _count_steps(inner, times * count, counts)
        case dp_accounting.ComposedDpEvent(events=inners):
            for inner in inners:
                _count_steps(inner, times, counts)
