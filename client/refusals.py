"""What a vault says when it refuses: one code, never the text of an error."""

from __future__ import annotations

from fedloom.common.errors import (
    BudgetExceededError,
    ConfigError,
    FedloomError,
    NotApprovedError,
    PolicyError,
    RefusedError,
)

__all__ = ["Refusal", "code_of"]

_CODES: tuple[tuple[type[FedloomError], str], ...] = (
    (BudgetExceededError, "budget"),
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
