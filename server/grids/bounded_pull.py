"""An end to the wait for an answer that was announced and does not come.

A Flower node first announces a reply and then sends its objects. If its line breaks in between,
Flower's Grid waits for the objects, more than an hour, whatever time-out the caller has, and all
other sites' replies wait with it. Here an object that is not there is waited for only while others
of the reply still come; then the reply counts as an error, and the site is asked again once its
node is back. It costs nothing: what the site answered is stored there.

It leans on an internal of Flower, by which name `HttpGrid` calls what fetches objects; where that
is not there, nothing is begun.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from flwr.supercore.inflatable.inflatable_utils import ObjectPullError, ObjectUnavailableError
from flwr.superlink.grid import http_grid

from fedloom.common.errors import ConfigError

__all__ = ["PullLimits", "bounded_pulls"]


class PullLimits:
    """How long objects of a reply may take.

    Args:
      stall_s: longest time without any object of the reply. The gateway cuts an exchange after as
        long (`fedloom.server.connection_limits`), so what takes longer never comes.
    """

    def __init__(self, stall_s: float = 300.0) -> None:
        self._stall_s = stall_s
        self._deadline = float("inf")

    def set_deadline(self, deadline: float) -> None:
        """Sets by when all must have come, by the monotonic clock."""
        self._deadline = deadline

    def limit(self, pull_object: Callable[[str], bytes]) -> Callable[[str], bytes]:
        """Returns `pull_object` for one reply, with these limits."""
        last = time.monotonic()

        def pull(object_id: str) -> bytes:
            nonlocal last
            try:
                content = pull_object(object_id)
            except ObjectUnavailableError:
                now = time.monotonic()
                if now > min(last + self._stall_s, self._deadline):
                    raise ObjectPullError(object_id, "it was announced and did not come") from None
                raise
            last = time.monotonic()
            return content

        return pull


@contextmanager
def bounded_pulls(limits: PullLimits) -> Iterator[None]:
    """Holds Flower's `HttpGrid` to the limits while the context is open.

    Raises:
      ConfigError: this Flower is not one that is known here.
    """
    internals = vars(http_grid)
    whole = internals.get("pull_objects")
    parameters = inspect.signature(whole).parameters if callable(whole) else {}
    if not {"object_ids", "pull_object_fn"} <= set(parameters):
        raise ConfigError("Flower's HttpGrid is not the one known here; install flwr>=1.41,<1.43")

    def pull_objects(*, pull_object_fn: Callable[[str], bytes], **others: Any) -> Any:
        assert whole is not None
        return whole(pull_object_fn=limits.limit(pull_object_fn), **others)

    internals["pull_objects"] = pull_objects
    try:
        yield
    finally:
        internals["pull_objects"] = whole
