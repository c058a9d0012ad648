"""A message in chunks, as `vault.proto` carries it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fedloom.common.errors import ConfigError
from fedloom.common.protocol.vault_pb2 import Chunk

__all__ = [
    "CHUNK_BYTES",
    "METHOD",
    "MAX_ANSWER_BYTES",
    "SERVICE",
    "MessageTooLargeError",
    "join",
    "split",
]

SERVICE = "fedloom.vault.v1.Vault"
METHOD = "Handle"
CHUNK_BYTES = 1_000_000
# Of an answer, which a site's own vault sends: what 32 bits of length can say.
MAX_ANSWER_BYTES = 1 << 31


def split(data: bytes) -> Iterator[Chunk]:
    """Cuts a message into chunks of at most `CHUNK_BYTES`."""
    for start in range(0, len(data), CHUNK_BYTES):
        yield Chunk(data=data[start : start + CHUNK_BYTES])


class MessageTooLargeError(ConfigError):
    """An error for a message that nobody may send; the rest of it was not read."""


def join(chunks: Iterable[Chunk], most: int) -> bytes:
    """Puts a message together.

    Args:
      chunks: its parts, in order, as `split` cuts them: crumbs that never end are not accepted.
      most: bytes that it may have.

    Raises:
      MessageTooLargeError: it has more, or more chunks than that takes; nothing more is read.
    """
    parts: list[bytes] = []
    size = 0
    for chunk in chunks:
        size += len(chunk.data)
        if size > most or len(parts) > most // CHUNK_BYTES:
            raise MessageTooLargeError(f"a message of more than {most} bytes")
        parts.append(chunk.data)
    return b"".join(parts)
