"""Texts as cells that can be summed: how unknown categories come through a noisy sum.

Nobody may list the categories of a site, so a record does not say "category 7" but spells its text.
The UTF-8 bytes, filled with zero bytes to the next of the lengths 4, 8, 16, 32 and 48, and a check
of two bytes are cut into symbols of four bits; SHA-256 of column name and text gives the check and
the bucket of a public table. In each symbol's row of eight cells, a bucket has one such row for
each symbol, the record adds +w or -w to one cell: the position tells three bits, the sign the
fourth. Records of one text add up in the same cells and those of other texts mostly elsewhere, so
a text that occurs often enough stands out of the noise in every row, and is read back (in
`fedloom.server.learners.categories`).

The weight w falls with the number m of symbols such that w sqrt(m) <= `NORM` for every length: a
short text is spelled louder, and no text counts for more than `NORM` in L2 norm.

Signed cells are a biorthogonal code: for the same norm the chance of misreading four bits is far
smaller than with a cell for each bit, and there are few cells (MacWilliams & Sloane 1977, ch. 14).
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "MAX_BYTES",
    "NORM",
    "SYMBOL_CELLS",
    "CodeTable",
    "encode_category",
    "tables",
    "decode_category",
]

MAX_BYTES = 48
NORM = 60
SYMBOL_CELLS = 8
_LENGTHS = (4, 8, 16, 32, 48)
_CHECK_BYTES = 2
# Long categories are fewer than codes, and their tables are larger.
_BUCKET_SHARES = (1, 1, 2, 4, 8)
_DOMAIN = b"fedloom spelling 1"

Symbols = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeTable:
    """The cells of all texts of one length.

    Attributes:
      shortest: Fewest bytes of its texts.
      longest: Most bytes.
      buckets: Number of buckets.
      start: Position of its first cell within the column.
    """

    shortest: int
    longest: int
    buckets: int
    start: int

    @property
    def symbols(self) -> int:
        """Symbols of each text, m."""
        return 2 * (self.longest + _CHECK_BYTES)

    @property
    def weight(self) -> int:
        """What a record adds or takes in each of its m cells."""
        return math.isqrt(NORM**2 // self.symbols)

    @property
    def size(self) -> int:
        """Number of cells."""
        return self.buckets * self.symbols * SYMBOL_CELLS


def tables(buckets: int, start: int) -> tuple[CodeTable, ...]:
    """Returns the tables of a column, one after the other.

    Args:
      buckets: Of the tables of short texts, a power of two, at least 8.
      start: Position of the first cell.
    """
    made: list[CodeTable] = []
    shortest = 1
    for longest, share in zip(_LENGTHS, _BUCKET_SHARES, strict=True):
        table = CodeTable(shortest=shortest, longest=longest, buckets=buckets // share, start=start)
        made.append(table)
        shortest, start = longest + 1, start + table.size
    return tuple(made)


def encode_category(text: str, *, column: str, table: CodeTable) -> tuple[int, Symbols]:
    """Returns the bucket of a text and its symbols, (m,), each below 16."""
    data = text.encode()
    bucket, check = _hash(data, column, table.buckets)
    filled = data.ljust(table.longest, b"\0") + check
    pairs = np.frombuffer(filled, dtype=np.uint8)
    return bucket, np.stack([pairs >> 4, pairs & 15], axis=1).reshape(-1)


def decode_category(
    symbols: npt.NDArray[Any], *, bucket: int, column: str, table: CodeTable
) -> str | None:
    """Returns the text of symbols that `encode_category` made; None for any others.

    >>> table = tables(64, 0)[0]
    >>> bucket, symbols = encode_category("yes", column="smoker", table=table)
    >>> decode_category(symbols, bucket=bucket, column="smoker", table=table)
    'yes'
    """
    pairs = np.asarray(symbols, dtype=np.uint8).reshape(-1, 2)
    filled = ((pairs[:, 0] << 4) | pairs[:, 1]).tobytes()
    data, check = filled[: table.longest].rstrip(b"\0"), filled[table.longest :]
    if len(data) < table.shortest or (bucket, check) != _hash(data, column, table.buckets):
        return None
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    return text if text.isprintable() and text == text.strip() else None


def _hash(data: bytes, column: str, buckets: int) -> tuple[int, bytes]:
    name = column.encode()
    full = hashlib.sha256(_DOMAIN + len(name).to_bytes(4, "big") + name + data).digest()
    return int.from_bytes(full[:4], "big") % buckets, full[4 : 4 + _CHECK_BYTES]
