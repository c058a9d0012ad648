"""Signed heads: how far a site's ledger has come, in words that fellow sites can check.

A head names the last entry of a ledger. A site signs one for its next answer in a run, together
with a nonce that it holds in memory alone: whoever has the site's disk and not its memory cannot
answer a request that names that nonce. The links between two heads are the hashes of the bodies of
the entries between them; with them anybody who has seen the first can tell that the second is the
same ledger, grown, and not another that was begun from an older copy.

A restored ledger is another one on purpose. Its epoch is the number of its restorations, and for
each epoch before, it says up to which entry of that ledger it counts everything as spent (`lost`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated

import msgspec
from msgspec import Meta

from fedloom.common.digest import canonical_json, digest, sha256_hex
from fedloom.common.typed import PublicKey, Section, Sha256

__all__ = [
    "HeadNote",
    "KnownHead",
    "KnownLedger",
    "Nonce",
    "SeenHead",
    "SignedHead",
    "entry_hash",
    "follow",
    "heads_digest",
]

_PURPOSE = b"fedloom head of a ledger\n"
_LARGEST = 2**53
_MAX_EPOCHS = 100

Whole = Annotated[int, Meta(ge=0, lt=_LARGEST)]
Nonce = Annotated[
    str, Meta(pattern=r"^[0-9a-f]{32}\Z", extra={"what": "a nonce of 32 hexadecimal digits"})
]


class SeenHead(Section, frozen=True, order=True):
    """A head as somebody remembers it; a later one of the same ledger is greater.

    Attributes:
      epoch: how often the ledger was restored before.
      seq: number of the last entry.
      hash: its hash.
    """

    epoch: Whole
    seq: Whole
    hash: Sha256


class SignedHead(Section, frozen=True):
    """A site's ledger when it promised its next answer in a run.

    Attributes:
      lost: of each epoch before, up to which entry of that ledger all counts as spent.
      seq: number of the last entry.
      hash: its hash.
      nonce: fresh for the next answer.
      signature: Ed25519 of `signed_bytes` by the site, in hexadecimal digits.
    """

    lost: Annotated[tuple[Whole, ...], Meta(max_length=_MAX_EPOCHS)]
    seq: Whole
    hash: Sha256
    nonce: Nonce
    signature: str

    @property
    def seen(self) -> SeenHead:
        """What is remembered of it."""
        return SeenHead(epoch=len(self.lost), seq=self.seq, hash=self.hash)

    def signed_bytes(self, plan: str, run: str) -> bytes:
        """Returns what the signature covers: a purpose, the run that it is for, and all."""
        body = [plan, run, list(self.lost), self.seq, self.hash, self.nonce]
        return _PURPOSE + canonical_json(body)


class KnownHead(Section, frozen=True):
    """A signed head with the run that it was for, so that it can be checked by itself."""

    plan: Sha256
    run: Annotated[str, Meta(min_length=1, max_length=256)]
    head: SignedHead

    def signed_bytes(self) -> bytes:
        """Returns what the signature covers."""
        return self.head.signed_bytes(self.plan, self.run)


class KnownLedger(Section, frozen=True):
    """What a coordinator keeps of one site's ledger.

    Attributes:
      newest: the newest head.
      links: those that lead to it, from the ledger's first entry on, or from the first head that
        was seen since a restoration.
      former: signing keys of the site before its keys changed.
    """

    newest: KnownHead
    links: tuple[Sha256, ...]
    former: tuple[PublicKey, ...] = ()


class HeadNote(Section, frozen=True):
    """How far a site's ledger has come, as a fellow site has seen.

    Attributes:
      head: the newest head that was seen.
      plans: by digest, the newest head that was seen in the runs of a plan, also of ended ones.
      former: signing keys of the site before its keys changed.
    """

    head: SeenHead
    plans: dict[Sha256, SeenHead]
    former: tuple[PublicKey, ...] = ()


def heads_digest(heads: Mapping[str, SignedHead]) -> str:
    """Returns the SHA-256 of heads by site: of their canonical JSON (`fedloom.common.digest`).

    A thousand heads are hashed by every site of a roster, so the bytes are written by msgspec.
    """
    return sha256_hex(msgspec.json.encode(heads, order="sorted"))


# Every site follows the same heads; a simulation of a thousand sites is one process.
@lru_cache(maxsize=1 << 15)
def entry_hash(seq: int, prev: str, body_sha256: str) -> str:
    """Returns the hash of a ledger's entry, which covers all entries before it."""
    return digest({"seq": seq, "prev": prev, "body_sha256": body_sha256})


@lru_cache(maxsize=1 << 15)
def follow(seen: SeenHead, links: tuple[str, ...]) -> SeenHead:
    """Returns the head of the ledger that `seen` is of, once it has grown by so many entries.

    Args:
      seen: an earlier head.
      links: SHA-256 of the body of each entry after it, in order.
    """
    found = seen.hash
    for seq, body_sha256 in enumerate(links, start=seen.seq + 1):
        found = entry_hash(seq, found, body_sha256)
    return SeenHead(epoch=seen.epoch, seq=seen.seq + len(links), hash=found)
