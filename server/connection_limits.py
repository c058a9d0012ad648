"""Deadlines for a caller of the gateway, and a limit to the connections of one address.

uvicorn counts every connection against its limit and gives a caller that sends nothing all the
time it wants, so a few silent callers could shut all others out. Here each connection has a time
for a request's header and one for the whole exchange, and no address may hold more than a part.
A protocol hears of a connection only after its TLS handshake, for which a caller has a minute; so
the limit is held where connections are taken from the system (`LimitedListener`).
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from dataclasses import dataclass
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["ConnectionLimits", "LimitedListener", "limited_protocol"]

_BACKLOG = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """What one caller may take.

    Attributes:
      header_s: seconds from a connection's start, or a later request's first byte, until the
        request's header is whole.
      exchange_s: seconds from then until its body is read and its answer taken.
      per_address: connections that one address may hold.
    """

    header_s: float = 10.0
    # An object of 5 MB passes in it at 17 kB/s.
    exchange_s: float = 300.0
    # A quarter of all. Institutions behind one address share it.
    per_address: int = 128


class LimitedListener(socket.socket):
    """A listening socket that takes no more connections of one address than the limit.

    Args:
      host: a name or address of this machine, such as 0.0.0.0.
      port: 0 for any.
      per_address: connections that one address may hold, in handshake or beyond.
    """

    def __init__(self, host: str, port: int, *, per_address: int) -> None:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        super().__init__(family, kind, protocol)
        self._per_address = per_address
        self._held: Counter[str] = Counter()
        self.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.bind(address)
        self.listen(_BACKLOG)

    def accept(self) -> tuple[socket.socket, Any]:
        """Returns the next connection and its address, as `socket.accept` does.

        Raises:
          ConnectionAbortedError: its address holds too many; it is closed.
        """
        connection, address = super().accept()
        held = _Held(self._held, str(address[0]), connection)
        if self._held[held.address] > self._per_address:
            held.close()
            raise ConnectionAbortedError
        return held, address


class _Held(socket.socket):
    """A connection that is counted until it is closed."""

    def __init__(self, counter: Counter[str], address: str, taken: socket.socket) -> None:
        super().__init__(taken.family, taken.type, taken.proto, fileno=taken.detach())
        self._counter = counter
        self.address = address
        counter[address] += 1

    def close(self) -> None:
        """Closes it and no longer counts it."""
        super().close()
        if self.address:
            self._counter[self.address] -= 1
            if not self._counter[self.address]:
                del self._counter[self.address]
            self.address = ""


def limited_protocol(limits: ConnectionLimits) -> type[H11Protocol]:
    """Returns uvicorn's protocol with these limits; a connection beyond them is cut."""
    connections: Counter[str] = Counter()

    class Limited(H11Protocol):
        _deadline: asyncio.TimerHandle | None = None
        _deadline_of: object = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            address = self._address()
            connections[address] += 1
            if connections[address] > limits.per_address:
                transport.abort()
            else:
                self._set_deadline()

        def connection_lost(self, exc: Exception | None) -> None:
            self._drop_deadline()
            address = self._address()
            connections[address] -= 1
            if not connections[address]:
                del connections[address]
            super().connection_lost(exc)

        def handle_events(self) -> None:
            super().handle_events()
            self._set_deadline()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._set_deadline()

        def _address(self) -> str:
            return self.client[0] if self.client else ""

        def _set_deadline(self) -> None:
            """Starts the deadline of what goes on now, unless it runs already."""
            if self.transport.is_closing():
                return
            answering = self.cycle is not None and not self.cycle.response_complete
            # Between two requests uvicorn's own timer runs. Whatever else comes, such as the rest
            # of a body after its refusal, is given the time of a header.
            idle = self.timeout_keep_alive_task is not None
            now: object = self.cycle if answering else None if idle else "header"
            if now is self._deadline_of:
                return
            self._drop_deadline()
            self._deadline_of = now
            if now is not None:
                seconds = limits.exchange_s if answering else limits.header_s
                self._deadline = self.loop.call_later(seconds, self.transport.abort)

        def _drop_deadline(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
            self._deadline = self._deadline_of = None

    return Limited
