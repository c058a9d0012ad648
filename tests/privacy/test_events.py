"""Events as JSON: what was written comes back, and nothing else is read."""

from __future__ import annotations

import json
from typing import Any

import dp_accounting
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedloom.common.digest import canonical_json
from fedloom.common.errors import ConfigError, LedgerError
from fedloom.privacy.events import (
    DpEvent,
    compose,
    event_from_json,
    event_to_json,
    gaussian,
    no_event,
    repeat,
    steps_of,
    subsampled,
)

noises = st.floats(min_value=1e-3, max_value=1e6)
leaves = st.one_of(
    st.builds(gaussian, noises),
    st.builds(subsampled, st.floats(1e-6, 1.0), noises, st.integers(1, 10**6)),
    st.just(no_event()),
)
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(repeat, inner, st.integers(1, 1000)),
        st.lists(inner, max_size=3).map(compose),
    ),
    max_leaves=6,
).filter(lambda event: _depth(event_or_none(event)) <= 8)


def event_or_none(event: DpEvent) -> Any:
    try:
        return event_to_json(event)
    except ConfigError:
        return None


def _depth(value: Any) -> int:
    if value is None:
        return 99
    inner = value.get("events", [value["event"]] if "event" in value else [])
    return 1 + max((_depth(child) for child in inner), default=0)


@given(trees)
def test_json_round_trip(event: DpEvent) -> None:
    written = canonical_json(event_to_json(event))
    read = event_from_json(json.loads(written))
    assert read == event
    assert canonical_json(event_to_json(read)) == written
    assert steps_of([read]) == steps_of([event])


GAUSSIAN = {"class_name": "GaussianDpEvent", "noise_multiplier": 1.0}


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        "GaussianDpEvent",
        {},
        {"class_name": "LaplaceDpEvent", "noise_multiplier": 1.0},
        {"class_name": ["GaussianDpEvent"], "noise_multiplier": 1.0},
        {"class_name": "GaussianDpEvent"},
        {**GAUSSIAN, "note": 1},
        {**GAUSSIAN, "noise_multiplier": 0.0},
        {**GAUSSIAN, "noise_multiplier": -1.0},
        {**GAUSSIAN, "noise_multiplier": float("inf")},
        {**GAUSSIAN, "noise_multiplier": float("nan")},
        {**GAUSSIAN, "noise_multiplier": "1.0"},
        {**GAUSSIAN, "noise_multiplier": True},
        {"class_name": "PoissonSampledDpEvent", "sampling_probability": 1.5, "event": GAUSSIAN},
        {
            "class_name": "PoissonSampledDpEvent",
            "sampling_probability": 0.5,
            "event": {"class_name": "NoOpDpEvent"},
        },
        {"class_name": "SelfComposedDpEvent", "count": 0, "event": GAUSSIAN},
        {"class_name": "SelfComposedDpEvent", "count": 2.0, "event": GAUSSIAN},
        {"class_name": "SelfComposedDpEvent", "count": True, "event": GAUSSIAN},
        {"class_name": "ComposedDpEvent", "events": GAUSSIAN},
        {"class_name": "ComposedDpEvent", "events": [None]},
    ],
)
def test_what_is_not_an_event_is_refused(value: Any) -> None:
    with pytest.raises(LedgerError):
        event_from_json(value)


def test_deep_nesting_is_refused_on_both_ways() -> None:
    event, value = gaussian(1.0), dict(GAUSSIAN)
    for _ in range(2000):
        event = compose([event])
        value = {"class_name": "ComposedDpEvent", "events": [value]}
    with pytest.raises(ConfigError):
        event_to_json(event)
    with pytest.raises(LedgerError):
        event_from_json(value)


@pytest.mark.parametrize(
    "event",
    [
        dp_accounting.LaplaceDpEvent(1.0),
        dp_accounting.NonPrivateDpEvent(),
        dp_accounting.ZCDpEvent(0.1),
        dp_accounting.UnsupportedDpEvent(),
        dp_accounting.PoissonSampledDpEvent(0.1, dp_accounting.LaplaceDpEvent(1.0)),
        compose([dp_accounting.LaplaceDpEvent(1.0)]),
    ],
)
def test_events_without_an_accountant_are_refused(event: DpEvent) -> None:
    with pytest.raises(ConfigError):
        event_to_json(event)
    with pytest.raises(ConfigError):
        steps_of([event])
