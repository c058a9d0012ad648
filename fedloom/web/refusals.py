"""What a site refused, by code, from its audit log."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fedloom.common.audit_entries import Message, MoreMessages, Stamped
from fedloom.common.vocabulary import Status

__all__ = ["RefusalShown", "refusals_in"]

_MEANINGS: dict[str, str] = {
    Status.MALFORMED: "cannot be read as a request",
    Status.UNSIGNED: "not signed by the coordinator of the approved plan that it names",
    Status.NOT_APPROVED: "the plan is not approved, or revoked, or the site is paused",
    Status.USED_UP: "every run that was approved is used",
    Status.OUTSIDE_PLAN: "asks for what the approved plan does not hold",
    Status.CONFLICT: "another request was answered in its place",
    Status.BUDGET: "the ledger has no room",
    Status.CLOSED: "the run is finished here",
    Status.STALE: "the site must be prepared again",
    Status.TURNED_BACK: "a ledger is older than one of its answers",
    Status.OTHER_VERSION: "the plan was resolved by another minor version of fedloom than this",
    Status.UNAVAILABLE: "the site could not answer; private.log says why",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusalShown:
    """How often a code was given.

    Attributes:
      code: as the caller read it; "silence" where nothing was said.
      meaning: in words.
      number: of messages.
      last: when last, UTC to the minute.
    """

    code: str
    meaning: str
    number: int
    last: str


def refusals_in(lines: Iterable[Stamped]) -> list[RefusalShown]:
    """Counts the refusals in an audit log, the most frequent first."""
    numbers: dict[str, int] = {}
    last: dict[str, str] = {}
    for line in lines:
        match line.entry:
            case Message(outcome=outcome):
                added = {outcome: 1}
            case MoreMessages(outcomes=outcomes):
                added = dict(outcomes)
            case _:
                continue
        for code, number in added.items():
            if code != Status.OK:
                numbers[code] = numbers.get(code, 0) + number
                last[code] = line.time
    return [
        RefusalShown(
            code=code,
            meaning=_MEANINGS.get(code, "no answer was given"),
            number=number,
            last=f"{last[code][:10]} {last[code][11:16]}",
        )
        for code, number in sorted(numbers.items(), key=lambda one: (-one[1], one[0]))
    ]
