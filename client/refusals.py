"""What a vault says when it refuses: one status and public numbers, never the text of an error."""

from __future__ import annotations

from typing import Any

from fedloom.common import version
from fedloom.common.errors import (
    BudgetExceededError,
    ConfigError,
    FedloomError,
    NotApprovedError,
    OtherVersionError,
    PolicyError,
    RefusedError,
    UsedUpError,
)
from fedloom.common.vocabulary import Status

__all__ = ["Refusal", "refusal_header", "status_of"]

_CODES: tuple[tuple[type[FedloomError], Status], ...] = (
    (BudgetExceededError, Status.BUDGET),
    (UsedUpError, Status.USED_UP),
    (NotApprovedError, Status.NOT_APPROVED),
    (PolicyError, Status.NOT_APPROVED),
    (RefusedError, Status.CONFLICT),
    (OtherVersionError, Status.OTHER_VERSION),
    (ConfigError, Status.MALFORMED),
)


class Refusal(FedloomError):
    """Carries the status of a refusal to the one place that answers.

    Args:
      status: why the site refuses.
      turned_back: names of the sites whose ledgers went back, if that is why.
    """

    def __init__(self, status: Status, *, turned_back: tuple[str, ...] = ()) -> None:
        super().__init__(status)
        self.status = status
        self.turned_back = turned_back


def status_of(error: FedloomError) -> Status:
    """Returns what may be said of an error that came before an attempt was opened.

    >>> status_of(BudgetExceededError("0.2 left")).value, status_of(FedloomError("disk full")).value
    ('budget', 'unavailable')
    """
    if isinstance(error, Refusal):
        return error.status
    return next((said for kind, said in _CODES if isinstance(error, kind)), Status.UNAVAILABLE)


def refusal_header(error: FedloomError) -> dict[str, Any]:
    """Returns what an answer's header says of a refusal.

    >>> refusal_header(UsedUpError("run 1 is not finished", runs=2))["runs"]
    2
    """
    status = status_of(error)
    return {
        "status": status,
        "version": version.VERSION if status is Status.OTHER_VERSION else "",
        "runs": error.runs if isinstance(error, UsedUpError) else None,
        "turned_back": error.turned_back if isinstance(error, Refusal) else (),
    }
