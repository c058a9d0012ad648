"""Connections to a vault by address, and the vaults of this process that have one.

A simulation registers its vaults for as long as it runs; names are made unique, so that two
simulations in one process never reach each other's vaults.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from fedloom.client.link.connection import Connection, Handler, VaultUnavailableError
from fedloom.common.errors import ConfigError

__all__ = ["connect", "registered"]

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


def connect(address: str, *, timeout_s: float | None = None, patience_s: float = 0.0) -> Connection:
    """Connects to a vault.

    Args:
      address: `unix:/path/of.sock` or `inproc:NAME`.
      timeout_s: longest wait for one answer; None waits for ever. Ignored in process, where
        nothing could interrupt the vault.
      patience_s: how long a vault behind a socket may take to come back when it does not serve.

    Raises:
      ConfigError: the address is of neither form.
      VaultUnavailableError: no vault of that name is registered in this process. (A socket is
        only tried when a request is sent.)
    """
    kind, _, rest = address.partition(":")
    if kind == "unix" and rest.startswith("/"):
        from fedloom.client.link.grpc_connection import GrpcConnection

        return GrpcConnection(Path(rest), timeout_s=timeout_s, patience_s=patience_s)
    if kind == "inproc" and rest:
        with _lock:
            handler = _handlers.get(rest)
        if handler is None:
            raise VaultUnavailableError(f"no vault is registered as {rest!r} in this process")
        return _InProcess(handler)
    raise ConfigError(
        f"a vault's address is unix:/absolute/path or inproc:NAME, not {address!r}; "
        "`fedloom site serve` prints it"
    )


class _InProcess:
    def __init__(self, handler: Handler) -> None:
        self._handler = handler

    def handle(self, data: bytes, /) -> bytes:
        return self._handler.handle(data)

    def close(self) -> None:
        """Leaves the vault open: it belongs to whoever registered it."""
