"""The client's end of the Unix socket on which a vault serves."""

from __future__ import annotations

import time
from pathlib import Path

import grpc

from fedloom.client.link.chunks import MAX_ANSWER_BYTES, METHOD, SERVICE, join, split
from fedloom.client.link.connection import VaultUnavailableError
from fedloom.common.protocol.vault_pb2 import Chunk

__all__ = ["GrpcConnection"]

_RETRY_S = 0.5


class GrpcConnection:
    """Sends requests to the vault that serves at a socket.

    Args:
      path: the socket.
      timeout_s: longest wait for one answer; None waits for ever.
      patience_s: how long a vault that does not serve, or ends in the middle of a request, may
        take to come back. A request may be sent again at any time: what was answered is stored,
        what was not is computed anew, and neither is charged twice.
    """

    def __init__(
        self, path: Path, *, timeout_s: float | None = None, patience_s: float = 0.0
    ) -> None:
        """Opens a channel; nothing is sent yet."""
        self._path = path
        self._timeout_s = timeout_s
        self._patience_s = patience_s
        self._channel = grpc.insecure_channel(
            f"unix:{path}", options=[("grpc.enable_http_proxy", 0)]
        )
        self._call = self._channel.stream_stream(
            f"/{SERVICE}/{METHOD}",
            request_serializer=Chunk.SerializeToString,
            response_deserializer=Chunk.FromString,
        )

    def handle(self, data: bytes, /) -> bytes:
        """Returns the vault's answer.

        Raises:
          VaultUnavailableError: no vault serves there, it failed, or it took too long.
        """
        end = time.monotonic() + self._patience_s
        while True:
            try:
                chunks = self._call(split(data), timeout=self._timeout_s)
                return join(chunks, MAX_ANSWER_BYTES)
            except grpc.RpcError as error:
                status = error.code().name if isinstance(error, grpc.Call) else "UNKNOWN"
            if status != "UNAVAILABLE" or time.monotonic() >= end:
                raise VaultUnavailableError(
                    f"the vault at {self._path} gave no answer ({status}); "
                    "see whether `fedloom site serve` runs"
                )
            time.sleep(_RETRY_S)

    def close(self) -> None:
        """Closes the channel."""
        self._channel.close()
