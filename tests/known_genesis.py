"""Ledgers whose first entry is known before they are made, so that requests can name its hash."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from fedloom.common.signed_heads import SignedHead
from fedloom.privacy.accounting import lifetime_renyi_order
from fedloom.privacy.keys import PrivateKey, public_key_hex, sign
from fedloom.privacy.ledger import entries, journal
from fedloom.privacy.ledger.entries import FIRST_PREV, FORMAT, Entry, new_entry

EPSILON, DELTA = 40.0, 1e-5


def genesis_head(
    key: PrivateKey, site: str, plan: str, run: str, *, rehearsal: bool = True
) -> SignedHead:
    """Returns a head at the first entry of the ledger that `known_genesis` makes for a site."""
    data = {
        "format": FORMAT,
        "site": site,
        "public_key": public_key_hex(key),
        "epsilon_limit": EPSILON,
        "delta_limit": DELTA,
        "renyi_order": lifetime_renyi_order(EPSILON, DELTA),
        "rehearsal": rehearsal,
        "insecure_noise": False,
    }
    first = _genesis(key, data)
    head = SignedHead(lost=(), seq=0, hash=first.hash, nonce="0" * 32, signature="")
    return SignedHead(
        lost=(),
        seq=0,
        hash=first.hash,
        nonce="0" * 32,
        signature=sign(key, head.signed_bytes(plan, run)),
    )


def _genesis(key: PrivateKey, data: dict[str, Any]) -> Entry:
    with (
        mock.patch.object(entries.secrets, "token_hex", return_value="0" * 32),
        mock.patch.object(entries, "datetime") as clock,
    ):
        clock.now.return_value.date.return_value.isoformat.return_value = "2026-01-01"
        return new_entry(key, 0, FIRST_PREV, "genesis", data)


@contextmanager
def known_genesis() -> Iterator[None]:
    """While it is open, ledgers begin with an entry that depends on its key and data alone."""

    def made(key: PrivateKey, seq: int, prev: str, kind: str, data: dict[str, Any]) -> Entry:
        return _genesis(key, data) if seq == 0 else new_entry(key, seq, prev, kind, data)

    with mock.patch.object(journal, "new_entry", made):
        yield
