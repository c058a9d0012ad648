"""What a vault says when it refuses: one status and public numbers, never the text of an error."""

from __future__ import annotations

from fedloom.common.errors import (
    BudgetExceededError,
    ConfigError,
    FedloomError,
    NotApprovedError,
    PolicyError,
    RefusedError,
    UsedUpError,
)
from fedloom.common.vocabulary import Status

__all__ = ["Refusal", "status_of"]

_CODES: tuple[tuple[type[FedloomError], Status], ...] = (
    (BudgetExceededError, Status.BUDGET),
    (UsedUpError, Status.USED_UP),
    (NotApprovedError, Status.NOT_APPROVED),
    (PolicyError, Status.NOT_APPROVED),
    (RefusedError, Status.CONFLICT),
    (ConfigError, Status.MALFORMED),
)


class Refusal(FedloomError):
    """Carries the status of a refusal to the one place that answers."""

    def __init__(self, status: Status) -> None:
        super().__init__(status)
        self.status = status


def status_of(error: FedloomError) -> Status:
    """Returns what may be said of an error that came before an attempt was opened.

    >>> status_of(BudgetExceededError("0.2 left")).value, status_of(FedloomError("disk full")).value
    ('budget', 'unavailable')
    """
    if isinstance(error, Refusal):
        return error.status
    return next((said for kind, said in _CODES if isinstance(error, kind)), Status.UNAVAILABLE)
