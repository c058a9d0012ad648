"""A message in chunks, as `vault.proto` carries it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fedloom.common.errors import ConfigError
from fedloom.common.protocol.vault_pb2 import Chunk

__all__ = ["CHUNK_BYTES", "METHOD", "SERVICE", "join", "split"]

SERVICE = "fedloom.vault.v1.Vault"
METHOD = "Handle"
CHUNK_BYTES = 1_000_000
_MAX_MESSAGE_BYTES = 1 << 31


def split(data: bytes) -> Iterator[Chunk]:
    """Cuts a message into chunks of at most `CHUNK_BYTES`."""
    for start in range(0, len(data), CHUNK_BYTES):
        yield Chunk(data=data[start : start + CHUNK_BYTES])


def join(chunks: Iterable[Chunk]) -> bytes:
    """Puts a message together.

    Raises:
      ConfigError: it is larger than any plan allows; nothing more of it is read.
    """
    parts: list[bytes] = []
    size = 0
    for chunk in chunks:
        size += len(chunk.data)
        if size > _MAX_MESSAGE_BYTES:
            raise ConfigError(f"a message of more than {_MAX_MESSAGE_BYTES} bytes")
        parts.append(chunk.data)
    return b"".join(parts)
