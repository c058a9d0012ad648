"""Connections to a vault by address."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from fedloom.client.link.in_process_vaults import lookup
from fedloom.common.errors import ConfigError, IncompleteError

__all__ = ["Connection", "Handler", "VaultUnavailableError", "connect"]


class Handler(Protocol):
    """Whatever answers one request's bytes with bytes; a `Vault`, for one."""

    def handle(self, data: bytes, /) -> bytes:
        """Answers one request; empty bytes are silence."""
        ...


class Connection(Handler, Protocol):
    """A handler that is reached over something that must be closed."""

    def close(self) -> None:
        """Gives the connection free; the vault goes on."""
        ...


class VaultUnavailableError(IncompleteError):
    """An error for a vault that cannot be reached or failed; it names a status, no text of it."""


def connect(address: str, *, timeout_s: float | None = None) -> Connection:
    """Connects to a vault.

    Args:
      address: `unix:/path/of.sock` or `inproc:NAME`.
      timeout_s: longest wait for one answer; None waits for ever. Ignored in process, where
        nothing could interrupt the vault.

    Raises:
      ConfigError: the address is of neither form.
      VaultUnavailableError: no vault of that name is registered in this process. (A socket is
        only tried when a request is sent.)
    """
    kind, _, rest = address.partition(":")
    if kind == "unix" and rest.startswith("/"):
        from fedloom.client.link.grpc_connection import GrpcConnection

        return GrpcConnection(Path(rest), timeout_s=timeout_s)
    if kind == "inproc" and rest:
        handler = lookup(rest)
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
