"""What a verification found: its checks, and for each that failed the file and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fedloom.common.errors import ReleaseError

__all__ = ["DO_NOT_USE", "Check", "CheckFailed", "Verification"]

DO_NOT_USE = "do not use this release; tell its publisher, and ask for a whole one"
"""What to do where a release is not what it claims to be, and nothing better is known."""


class CheckFailed(ReleaseError):
    """An error for a check that knows which file is wrong and what to do about it.

    Args:
      message: what was found.
      file: path in the release.
      remedy: what to do.
    """

    def __init__(self, message: str, *, file: str, remedy: str = DO_NOT_USE) -> None:
        super().__init__(message)
        self.file = file
        self.remedy = remedy


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at.

    Attributes:
      name: short, stable.
      ok: whether it held; None if it was not done.
      detail: what was found, for people.
      file: where it failed, as a path in the release; None if it held.
      remedy: what to do about it; None if it held.
    """

    name: str
    ok: bool | None
    detail: str
    file: str | None = None
    remedy: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What `check_release` found.

    Attributes:
      checks: in the order in which they were made.
      public_key: of the signer, None if the manifest cannot be read.
      fingerprint: of that key.
      signer_checked: whether the key was compared with one known from elsewhere.
      notes: what a reader must know although nothing is wrong.
      epsilon: at one site, as stated, without the price of a learned schema, which is in `notes`;
        None if it cannot be read.
      delta: likewise.
    """

    checks: tuple[Check, ...]
    public_key: str | None
    fingerprint: str | None
    signer_checked: bool
    notes: tuple[str, ...]
    epsilon: float | None
    delta: float | None

    @property
    def ok(self) -> bool:
        """Whether no check failed."""
        return all(check.ok is not False for check in self.checks)

    @property
    def failure(self) -> str | None:
        """The first check that failed, its file and what to do, in a line; None if none did."""
        failed = [check for check in self.checks if check.ok is False]
        if not failed:
            return None
        first, more = failed[0], len(failed) - 1
        others = f" ({more} more failed: {', '.join(c.name for c in failed[1:])})" if more else ""
        where = "" if str(first.file) in first.detail else f" at {first.file}"
        return (
            f"this release does not verify: check '{first.name}' failed{where}: {first.detail}"
            f"{others}; what to do: {first.remedy}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns JSON-able values."""
        return {
            "ok": self.ok,
            "failure": self.failure,
            "signer": {
                "public_key": self.public_key,
                "fingerprint": self.fingerprint,
                "checked": self.signer_checked,
            },
            "epsilon": self.epsilon,
            "delta": self.delta,
            "notes": list(self.notes),
            "checks": [
                {
                    "name": check.name,
                    "ok": check.ok,
                    "detail": check.detail,
                    "file": check.file,
                    "remedy": check.remedy,
                }
                for check in self.checks
            ],
        }
