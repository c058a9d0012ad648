"""What a vault says when it refuses: one code and public numbers, never the text of an error."""

from __future__ import annotations

from typing import Any

from fedloom.common.errors import (
    BudgetExceededError,
    ConfigError,
    FedloomError,
    NotApprovedError,
    PolicyError,
    RefusedError,
    UsedUpError,
)

__all__ = ["Refusal", "code_of", "refusal"]

_CODES: tuple[tuple[type[FedloomError], str], ...] = (
    (BudgetExceededError, "budget"),
    (UsedUpError, "used-up"),
    (NotApprovedError, "not-approved"),
    (PolicyError, "not-approved"),
    (RefusedError, "conflict"),
    (ConfigError, "malformed"),
)


class Refusal(FedloomError):
    """Carries the code of a refusal to the one place that answers.

    Args:
      code: one of `fedloom.common.messages.REFUSALS`.
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def code_of(error: FedloomError) -> str:
    """Returns what may be said of an error that came before an attempt was opened.

    >>> code_of(BudgetExceededError("0.2 left")), code_of(FedloomError("disk full"))
    ('budget', 'unavailable')
    """
    if isinstance(error, Refusal):
        return error.code
    return next((code for kind, code in _CODES if isinstance(error, kind)), "unavailable")


def refusal(error: FedloomError) -> dict[str, Any]:
    """Returns the header of an answer that refuses.

    >>> refusal(UsedUpError("run 1 is not finished", runs=2))
    {'status': 'used-up', 'runs': 2}
    """
    header: dict[str, Any] = {"status": code_of(error)}
    return {**header, "runs": error.runs} if isinstance(error, UsedUpError) else header
