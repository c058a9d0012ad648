"""What a verification found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Check", "Verification"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at.

    Attributes:
      name: short, stable.
      ok: whether it held; None if it was not done.
      detail: what was found, for people.
    """

    name: str
    ok: bool | None
    detail: str


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

    def to_dict(self) -> dict[str, Any]:
        """Returns JSON-able values."""
        return {
            "ok": self.ok,
            "signer": {
                "public_key": self.public_key,
                "fingerprint": self.fingerprint,
                "checked": self.signer_checked,
            },
            "epsilon": self.epsilon,
            "delta": self.delta,
            "notes": list(self.notes),
            "checks": [
                {"name": check.name, "ok": check.ok, "detail": check.detail}
                for check in self.checks
            ],
        }
