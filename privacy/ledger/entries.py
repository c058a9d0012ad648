"""Ledger entries: what each kind says, how entries are chained, and how they are signed.

The body of an entry is canonical JSON: kind, UTC day, a random nonce, and the data of its kind.
The day alone is kept, because how long an answer took may depend on the records, and extracts are
published; the order of entries is that of the chain.
The entry's hash covers its number, the hash before it and the SHA-256 of the body, so a body can
be left out of a copy for another study (`Entry.redacted`) and the chain still checks; the nonce
keeps a left-out body from being guessed. The site signs every hash with its Ed25519 key.
"""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any

from fedloom.common.digest import canonical_json, sha256_hex
from fedloom.common.errors import LedgerError, RefusedError
from fedloom.common.signed_heads import entry_hash
from fedloom.common.vocabulary import Unit
from fedloom.privacy.events import event_from_json
from fedloom.privacy.keys import PrivateKey, sign

__all__ = [
    "FIRST_PREV",
    "FORMAT",
    "ROTATED",
    "Body",
    "Entry",
    "check_data",
    "damaged",
    "new_entry",
    "signed_part",
]

FORMAT = 7
FIRST_PREV = "0" * 64
ROTATED = "key-rotated"
_SIGNED = b"fedloom ledger entry "
_MAX_WHOLE = 2**53
_MAX_RUNS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """What an entry says."""

    kind: str
    day: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One link of the chain; `body` is None where it was left out of a copy."""

    seq: int
    prev: str
    body: bytes | None
    body_sha256: str
    hash: str
    signature: str

    def read(self) -> Body:
        """Parses the body.

        Raises:
          LedgerError: the body was left out, is not canonical, or does not say what its kind must.
        """
        if self.body is None:
            raise LedgerError(f"the body of entry {self.seq} was left out of this copy")
        return _read_body(self.seq, self.body)

    def redacted(self) -> Entry:
        """Returns the entry without its body; its hash and signature still check."""
        return replace(self, body=None)

    def to_dict(self) -> dict[str, Any]:
        """Returns the entry as a JSON-able dict."""
        plain = {
            "seq": self.seq,
            "prev": self.prev,
            "body_sha256": self.body_sha256,
            "hash": self.hash,
            "signature": self.signature,
        }
        return plain if self.body is None else {**plain, "body": json.loads(self.body)}

    @classmethod
    def from_dict(cls, value: Any) -> Entry:
        """Reads what `to_dict` wrote.

        Raises:
          LedgerError: a field is missing, unknown or of the wrong type.
        """
        fields = {"seq": int, "prev": str, "body_sha256": str, "hash": str, "signature": str}
        if not isinstance(value, dict) or set(value) - {"body"} != set(fields):
            raise LedgerError(f"expected a ledger entry with the fields {sorted(fields)}")
        for name, kind in fields.items():
            if type(value[name]) is not kind:
                raise LedgerError(
                    f"expected {name} of a ledger entry to be of type {kind.__name__}"
                )
        body = None
        if "body" in value:
            try:
                body = canonical_json(value["body"])
            except (TypeError, ValueError, RecursionError) as error:
                raise LedgerError(f"the body of entry {value['seq']} has no JSON form") from error
        return cls(body=body, **{name: value[name] for name in fields})


def new_entry(key: PrivateKey, seq: int, prev: str, kind: str, data: dict[str, Any]) -> Entry:
    """Makes and signs the entry that follows the one with hash `prev`.

    The data is taken as it is: check it with `check_data` first.
    """
    body = canonical_json(
        {
            "kind": kind,
            "day": datetime.now(UTC).date().isoformat(),
            "nonce": secrets.token_hex(16),
            "data": data,
        }
    )
    body_sha256 = sha256_hex(body)
    chained = entry_hash(seq, prev, body_sha256)
    signature = sign(key, signed_part(chained))
    return Entry(
        seq=seq, prev=prev, body=body, body_sha256=body_sha256, hash=chained, signature=signature
    )


def signed_part(chained: str) -> bytes:
    """Returns what the signature of the entry with that hash covers."""
    return _SIGNED + chained.encode()


def check_data(kind: str, data: dict[str, Any]) -> None:
    """Checks what a new entry is to say.

    Raises:
      RefusedError: a field is missing, unknown, or has an unusable value.
    """
    problem = _problem(kind, data)
    if problem is not None:
        raise RefusedError(f"the ledger cannot record this: the entry {problem}")


def _problem(kind: Any, data: Any) -> str | None:
    fields = _KINDS.get(kind) if isinstance(kind, str) else None
    if fields is None:
        return f"is of unknown kind {kind!r}"
    if not isinstance(data, dict) or set(data) != set(fields):
        return f"({kind}) does not have the fields {sorted(fields)}"
    for name, valid in fields.items():
        if not valid(data[name]):
            return f"({kind}) has an unusable value under {name}"
    return None


def damaged(seq: int, what: str) -> LedgerError:
    """Returns the error that names an entry which is not what it must be, and the remedy."""
    return LedgerError(
        f"the ledger is damaged: entry {seq} {what}; put the newest backup of the home "
        "back with `fedloom site restore`, or ask the holder for an undamaged copy"
    )


def _read_body(seq: int, body: bytes) -> Body:
    try:
        value = json.loads(body)
        canonical = canonical_json(value)
    except (ValueError, TypeError, RecursionError) as error:
        raise damaged(seq, "is not canonical JSON") from error
    if canonical != body or not isinstance(value, dict):
        raise damaged(seq, "is not canonical JSON")
    if set(value) != {"kind", "day", "nonce", "data"}:
        raise damaged(seq, f"has the fields {sorted(value)}")
    if not _is_hex(value["nonce"], 32) or not _is_day(value["day"]):
        raise damaged(seq, "lacks its nonce or day")
    problem = _problem(value["kind"], value["data"])
    if problem is not None:
        raise damaged(seq, problem)
    return Body(kind=value["kind"], day=value["day"], data=value["data"])


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _is_text_or_none(value: Any) -> bool:
    return value is None or _is_text(value)


def _is_unit(value: Any) -> bool:
    return value in tuple(Unit)


def _is_day(value: Any) -> bool:
    try:
        return isinstance(value, str) and date.fromisoformat(value).isoformat() == value
    except ValueError:
        return False


def _is_hex(value: Any, length: int) -> bool:
    return isinstance(value, str) and len(value) == length and set(value) <= set("0123456789abcdef")


def _is_digest(value: Any) -> bool:
    return _is_hex(value, 64)


def _is_signature(value: Any) -> bool:
    return _is_hex(value, 128)


def _is_whole(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _MAX_WHOLE


def _is_count(value: Any) -> bool:
    return type(value) is int and 1 <= value <= _MAX_RUNS


def _is_number(value: Any) -> bool:
    if type(value) is int:
        return 0 < value <= _MAX_WHOLE
    return type(value) is float and math.isfinite(value) and value > 0


def _are_seqs(value: Any) -> bool:
    return isinstance(value, list) and all(_is_whole(seq) for seq in value)


def _are_names(value: Any) -> bool:
    """Names of sites: some, each once, sorted."""
    if not isinstance(value, list) or not value or not all(map(_is_text, value)):
        return False
    return value == sorted(set(value))


def _are_digests(value: Any) -> bool:
    """Digests of plans: any number of them, each once, sorted."""
    if not isinstance(value, list) or not all(map(_is_digest, value)):
        return False
    return value == sorted(set(value))


def _are_keys(value: Any) -> bool:
    """Public keys of a site: to sign, to agree on masks, and of its node (a compressed point)."""
    if not isinstance(value, dict) or set(value) != {"key", "exchange-key", "node-key"}:
        return False
    return (
        _is_digest(value["key"])
        and _is_digest(value["exchange-key"])
        and _is_point(value["node-key"])
    )


def _is_point(value: Any) -> bool:
    return _is_hex(value, 98) and value[:2] in ("02", "03")


def _are_rosters(value: Any) -> bool:
    return isinstance(value, list) and all(_are_names(roster) for roster in value)


def _is_flag(value: Any) -> bool:
    return type(value) is bool


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_format(value: Any) -> bool:
    return type(value) is int and value == FORMAT


def _is_event(value: Any) -> bool:
    try:
        event_from_json(value)
    except (LedgerError, OverflowError):
        return False
    return True


_Fields = dict[str, Callable[[Any], bool]]
_RUN: _Fields = {"plan": _is_text, "run": _is_text}
_ATTEMPT: _Fields = {**_RUN, "round": _is_whole, "attempt": _is_whole}
_KINDS: dict[str, _Fields] = {
    "genesis": {
        "format": _is_format,
        "site": _is_text,
        "public_key": _is_digest,
        "epsilon_limit": _is_number,
        "delta_limit": _is_number,
        "renyi_order": _is_number,
        "rehearsal": _is_flag,
        "insecure_noise": _is_flag,
    },
    "approve": {
        "study": _is_text,
        "plan": _is_text,
        "name": _is_text,
        "unit": _is_unit,
        "id": _is_text_or_none,
        "coordinator": _is_digest,
        "event": _is_event,
        "runs": _is_count,
        "learned": _are_digests,
        "snapshot_commitment": _is_text,
        "summary": _is_object,
    },
    "revoke": {"plan": _is_text},
    "pause": {},
    "resume": {},
    "reserve": {**_RUN, "event": _is_event},
    "open": {
        **_ATTEMPT,
        "query": _is_text,
        "roster": _are_names,
        "void": _are_rosters,
        "request_digest": _is_text,
        "event": _is_event,
    },
    "commit": {**_ATTEMPT, "request_digest": _is_text, "answer_digest": _is_digest},
    "finish": {**_RUN, "entries": _are_seqs},
    "release": {**_RUN, "digest": _is_text},
    "lost": {"plan": _is_text, "run": _is_text_or_none},
    "restore": {"lost": _are_seqs},
    ROTATED: {
        "site": _is_text,
        "ledger": _is_digest,
        "old": _are_keys,
        "new": _are_keys,
        "countersignature": _is_signature,
    },
}
