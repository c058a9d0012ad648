"""Work done beside other work, in a thread of its own: noise is drawn while gradients are taken.

Noise depends on nothing private, so it can be drawn before the sum that it goes on. A source of
noise serves one thread at a time: the thread owns it from the start of the block to its end, and
nothing else may draw from it in between.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

__all__ = ["in_background"]

T = TypeVar("T")

_WORTH_A_THREAD = 16384


@contextmanager
def in_background(work: Callable[[], T], size: int) -> Iterator[Callable[[], T]]:
    """Starts `work` beside the block; what it yields waits for the result.

    The work is over when the block is left, also by an error. Without an idle core, or with less to
    do than a thread costs, it is done at the start instead.

    Args:
      work: Takes no argument.
      size: Numbers that the work draws.

    >>> with in_background(lambda: 6 * 7, size=10**6) as result:
    ...     result()
    42
    """
    if size < _WORTH_A_THREAD or not _spare_core():
        value = work()
        yield lambda: value
        return
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(work).result


def _spare_core() -> bool:
    """Whether a second core is given to this process and others leave it idle."""
    given = getattr(os, "sched_getaffinity", None)
    cores = len(given(0)) if given is not None else os.cpu_count() or 1
    return cores > 1 and os.getloadavg()[0] < cores
