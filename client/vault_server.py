"""Serves a vault on a Unix socket.

Requests come in chunks, are put together, and reach the vault one at a time; a second caller
waits its turn. A call that its caller has given up before its turn comes is dropped, so nothing
is spent on an answer that nobody waits for. A request is read no further than the largest one that
may be made, and a caller that neither sends nor takes anything for some seconds is dropped: there
are few places, and whoever keeps one open keeps others out. A failure tells the caller a status
and no text.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType, TracebackType
from typing import Protocol

import grpc

from fedloom.client.link.chunks import METHOD, SERVICE, MessageTooLargeError, join, split
from fedloom.client.link.connection import Handler
from fedloom.client.link.sockets import is_served, prepare_socket
from fedloom.common.errors import HomeInUseError
from fedloom.common.event_log import event
from fedloom.common.protocol.vault_pb2 import Chunk

__all__ = ["Served", "VaultServer", "serve_until_stopped"]

_CALLERS = 4
_IDLE_S = 5.0


class Served(Handler, Protocol):
    """A handler that says how much it reads: a `Vault`, for one."""

    def largest_request(self) -> int:
        """Returns the most bytes that a request may have; called while others are answered."""
        ...


class VaultServer:
    """A handler that serves on a Unix socket, from construction until `stop`.

    Args:
      handler: the vault; asked by one thread at a time, not always the same.
      path: the socket; see `fedloom.client.link.sockets`.
      idle_s: after how many seconds a caller that neither sends nor takes is dropped.
      shared: the socket is for the group of its folder too; see `prepare_socket`.

    Raises:
      ConfigError: the path is unfit.
      HomeInUseError: a process serves there already.
    """

    def __init__(
        self, handler: Served, path: Path, *, idle_s: float = _IDLE_S, shared: bool = False
    ) -> None:
        """Begins to serve."""
        prepare_socket(path, shared=shared)
        if is_served(path):
            raise HomeInUseError(
                f"a vault serves at {path} already; stop it, or give another path with --socket"
            )
        path.unlink(missing_ok=True)
        self._handler = handler
        self._path = path
        self._idle_s = idle_s
        self._turn = threading.Lock()
        self._server = grpc.server(ThreadPoolExecutor(_CALLERS, thread_name_prefix="vault"))
        method = grpc.stream_stream_rpc_method_handler(
            self._answer,
            request_deserializer=Chunk.FromString,
            response_serializer=Chunk.SerializeToString,
        )
        self._server.add_registered_method_handlers(SERVICE, {METHOD: method})
        self._server.add_insecure_port(f"unix:{path}")
        self._server.start()
        path.chmod(0o660 if shared else 0o600)

    @property
    def address(self) -> str:
        """What a ClientApp connects to."""
        return f"unix:{self._path}"

    def stop(self, grace_s: float = 5.0) -> None:
        """Takes no more requests; gives the one at work `grace_s` seconds to end."""
        self._server.stop(grace_s).wait()
        self._path.unlink(missing_ok=True)

    def __enter__(self) -> VaultServer:
        """Returns the server."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stops the server."""
        self.stop()

    def _answer(self, chunks: Iterator[Chunk], context: grpc.ServicerContext) -> Iterator[Chunk]:
        try:
            request = join(self._watched(chunks, context), self._handler.largest_request())
        except MessageTooLargeError:
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "")
        with self._turn:
            answer = self._handle(request) if context.is_active() else None
        if answer is None:
            context.abort(grpc.StatusCode.INTERNAL, "")
        else:
            yield from self._watched(split(answer), context)

    def _watched(self, chunks: Iterator[Chunk], context: grpc.ServicerContext) -> Iterator[Chunk]:
        """Passes chunks on, either way; gives up the call when none moves for a while."""
        while True:
            timer = threading.Timer(self._idle_s, context.cancel)
            timer.daemon = True
            timer.start()
            try:
                chunk = next(chunks, None)
                if chunk is None:
                    return
                yield chunk
            finally:
                timer.cancel()

    def _handle(self, request: bytes) -> bytes | None:
        try:
            return self._handler.handle(request)
        except Exception as error:
            # Its text may quote records. A vault has put it into its home's private log.
            event("request-failed", level="error", code=type(error).__name__)
            return None


def serve_until_stopped(
    handler: Served,
    path: Path,
    *,
    ready: Callable[[str], None],
    grace_s: float = 5.0,
    shared: bool = False,
) -> None:
    """Serves until SIGTERM or SIGINT; call it from the main thread.

    Args:
      handler: the vault; the caller closes it afterwards.
      path: the socket.
      ready: called with the address once requests are taken.
      grace_s: how long a request at work may go on after the signal. Its ledger is safe if it
        is cut off: the attempt is computed again when it is asked again.
      shared: the socket is for the group of its folder too.
    """
    stopped = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        stopped.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    server = VaultServer(handler, path, shared=shared)
    ready(server.address)
    # The system may hand the signal to another thread, which does not wake this one, and only this
    # one runs the handler: so it looks again each second.
    while not stopped.wait(1.0):
        pass
    server.stop(grace_s)
