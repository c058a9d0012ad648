"""What a connection to a vault is, whatever carries the bytes."""

from __future__ import annotations

from typing import Protocol

from fedloom.common.errors import IncompleteError

__all__ = ["Connection", "Handler", "VaultUnavailableError"]


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
