"""The entries of a ledger in a few words each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fedloom.client.plan_in_words import in_runs
from fedloom.privacy.ledger import LedgerView

__all__ = ["EntryShown", "entries_in_words"]


_OTHERS = {
    "revoke": "approval revoked",
    "pause": "paused",
    "resume": "answers again",
    "release": "a release was noted",
    "lost": "counted in full: answers may be missing here",
    "restore": "restored from a backup",
    "key-rotated": "the site's keys changed",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryShown:
    """One entry.

    Attributes:
      seq: its number.
      day: UTC.
      what: it says.
      plan: first digits of the digest of the plan that it is about; empty for none.
      hash: first digits of its hash.
    """

    seq: int
    day: str
    what: str
    plan: str
    hash: str


def entries_in_words(view: LedgerView) -> list[EntryShown]:
    """Returns all entries of a ledger, oldest first."""
    shown = []
    for entry in view.entries:
        body = entry.read()
        shown.append(
            EntryShown(
                seq=entry.seq,
                day=body.day,
                what=_words(body.kind, body.data),
                plan=str(body.data.get("plan", ""))[:12],
                hash=entry.hash[:12],
            )
        )
    return shown


def _words(kind: str, data: dict[str, Any]) -> str:
    where, run = f"round {data.get('round')}, attempt {data.get('attempt')}", data.get("run")
    match kind:
        case "genesis":
            limit, delta = data["epsilon_limit"], data["delta_limit"]
            return f"ledger begun: limit epsilon {limit:g} at delta {delta:g} for life"
        case "approve":
            return f"approved {data['name']} for {in_runs(data['runs'])}"
        case "open":
            return f"asked: {data['query']}, {where}"
        case "commit":
            return f"answered: {where}"
        case "reserve":
            return f"run {str(run)[:12]} begun, its price reserved"
        case "finish":
            return f"run {str(run)[:12]} ended"
    return _OTHERS[kind]
