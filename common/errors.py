"""Every error that fedloom raises on purpose, with the exit code that the command line gives it.

    FedloomError                1  a bug of ours
    ├── ConfigError             2  unusable input
    │   ├── SchemaError            the public schema
    │   ├── StudyError             the study file, or a plan that cannot be resolved from it
    │   └── DataError              records that do not fit the schema (said to the steward alone)
    ├── RefusedError            3  refused by policy or budget
    │   ├── BudgetExceededError    the ledger has no room for the plan
    │   ├── PolicyError            the site's policy forbids it
    │   ├── NotApprovedError       no steward approved this very plan
    │   │   └── UsedUpError        every run that was approved is used
    │   ├── HomeInUseError         another vault holds the site's home
    │   └── NotMeasuredError       the study's answers do not hold it, or noise hides it
    ├── VerificationError       4  something is not what its signature or hash says
    │   ├── LedgerError            a ledger that is damaged, cut or unreadable
    │   └── ReleaseError           a release that is damaged or states a wrong price
    └── IncompleteError         5  incomplete but resumable
        ├── DiskFullError          the disk took no more; nothing is damaged
        └── QuorumError            too few sites answered in time

A message says what was expected, what came, and what to do next. Messages of errors that can
cross a site's wall never quote records; only the error's `code` leaves a site.
"""

from __future__ import annotations

__all__ = [
    "BudgetExceededError",
    "ConfigError",
    "DataError",
    "DiskFullError",
    "FedloomError",
    "HomeInUseError",
    "IncompleteError",
    "LedgerError",
    "NotApprovedError",
    "NotMeasuredError",
    "OtherVersionError",
    "PolicyError",
    "QuorumError",
    "RefusedError",
    "ReleaseError",
    "SchemaError",
    "StudyError",
    "UsedUpError",
    "VerificationError",
]


class FedloomError(Exception):
    """Root of fedloom's errors."""

    exit_code = 1


class ConfigError(FedloomError):
    """An error for input that cannot be used as it is."""

    exit_code = 2


class SchemaError(ConfigError):
    """An error for a schema that is incomplete or contradicts itself."""


class StudyError(ConfigError):
    """An error for a study that is incomplete, contradictory or asks for what does not exist."""


class OtherVersionError(StudyError):
    """An error for a plan that another minor version of fedloom resolved."""


class DataError(ConfigError):
    """An error for records that do not fit the schema."""


class RefusedError(FedloomError):
    """An error for a request that a site's rules forbid."""

    exit_code = 3


class BudgetExceededError(RefusedError):
    """An error for a plan that does not fit what is left of a site's budget."""


class PolicyError(RefusedError):
    """An error for a plan beyond the site's policy."""


class NotApprovedError(RefusedError):
    """An error for a plan that the steward has not approved, or has revoked or paused."""


class UsedUpError(NotApprovedError):
    """An error for a run beyond those that the steward's approval was for.

    Args:
      message: what was approved, and what to do.
      runs: how many runs the approval was for.
    """

    def __init__(self, message: str, *, runs: int) -> None:
        super().__init__(message)
        self.runs = runs


class HomeInUseError(RefusedError):
    """An error for a site's home that another process holds."""


class NotMeasuredError(RefusedError):
    """An error for a number that a study's answers do not hold, or that their noise hides."""


class VerificationError(FedloomError):
    """An error for something that is not what its hash or signature says."""

    exit_code = 4


class LedgerError(VerificationError):
    """An error for a ledger that is damaged, cut or cannot be read."""


class ReleaseError(VerificationError):
    """An error for a release that is damaged or states a wrong price."""


class IncompleteError(FedloomError):
    """An error for work that stopped before its end and can be resumed."""

    exit_code = 5


class DiskFullError(IncompleteError):
    """An error for a disk that took no more of what was written; nothing is damaged."""


class QuorumError(IncompleteError):
    """An error for a round that too few sites answered in time."""
