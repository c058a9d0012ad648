"""Vaults that live in this process, by name: what `inproc:NAME` reaches.

A simulation registers its vaults for as long as it runs; names are made unique, so that two
simulations in one process never reach each other's vaults.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fedloom.client.link.connect import Handler

__all__ = ["lookup", "registered"]

_handlers: dict[str, Handler] = {}
_lock = threading.Lock()
_numbers = itertools.count(1)


@contextmanager
def registered(vaults: Mapping[str, Handler]) -> Iterator[dict[str, str]]:
    """Registers vaults while the context is open.

    Args:
      vaults: the vaults by site.

    Yields:
      The address of each site's vault.
    """
    with _lock:
        number = next(_numbers)
        names = {site: f"{number}/{site}" for site in vaults}
        _handlers.update({names[site]: vault for site, vault in vaults.items()})
    try:
        yield {site: f"inproc:{name}" for site, name in names.items()}
    finally:
        with _lock:
            for name in names.values():
                del _handlers[name]


def lookup(name: str) -> Handler | None:
    """Returns the vault registered as `name`, or None."""
    with _lock:
        return _handlers.get(name)
