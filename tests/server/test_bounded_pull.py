"""Objects of an announced reply that do not come, with Flower's own way of fetching them."""

from __future__ import annotations

import time

import pytest
from flwr.supercore.inflatable.inflatable_utils import ObjectPullError, ObjectUnavailableError
from flwr.superlink.grid import http_grid

from fedloom.common.errors import ConfigError
from fedloom.server.grids.bounded_pull import PullLimits, bounded_pulls


class Store:
    """Objects that are there from the so-manieth look on."""

    def __init__(self, **from_look: int) -> None:
        self._left = dict(from_look)

    def __call__(self, object_id: str) -> bytes:
        self._left[object_id] -= 1
        if self._left[object_id] > 0:
            raise ObjectUnavailableError(object_id)
        return object_id.encode()


def pull(store: Store, *objects: str) -> dict[str, bytes]:
    """Fetches as Flower's grid does, but looks more often."""
    return http_grid.pull_objects(
        object_ids=list(objects), pull_object_fn=store, initial_backoff=0.01, backoff_cap=0.01
    )


NEVER = 1_000_000


def test_what_comes_late_but_goes_on_coming_is_waited_for():
    with bounded_pulls(PullLimits(stall_s=30.0)):
        store = Store(a=1, b=3, c=5)
        assert pull(store, "a", "b", "c") == {"a": b"a", "b": b"b", "c": b"c"}


def test_what_does_not_come_is_given_up_and_what_is_there_is_fetched_next_time():
    with bounded_pulls(PullLimits(stall_s=0.05)):
        with pytest.raises(ObjectPullError, match="did not come"):
            pull(Store(a=1, b=NEVER), "a", "b")
        assert pull(Store(a=1), "a") == {"a": b"a"}


def test_nothing_is_waited_for_after_the_deadline_of_the_ask():
    limits = PullLimits(stall_s=NEVER)
    limits.set_deadline(time.monotonic() - 1.0)
    with bounded_pulls(limits):
        with pytest.raises(ObjectPullError):
            pull(Store(a=2), "a")
        assert pull(Store(a=1), "a") == {"a": b"a"}  # it is there


def test_flowers_own_function_is_back_afterwards_and_another_flower_is_refused(monkeypatch):
    before = http_grid.pull_objects
    with bounded_pulls(PullLimits()):
        assert http_grid.pull_objects is not before
    assert http_grid.pull_objects is before
    monkeypatch.delattr(http_grid, "pull_objects")
    with pytest.raises(ConfigError), bounded_pulls(PullLimits()):
        pass
