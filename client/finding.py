"""What one check before a start found: passed, or the problem and how to fix it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Finding"]


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check.

    Attributes:
      check: Its name.
      detail: What was found.
      remedy: How to fix it; empty if it passed.
      warning: What will have to be done soon; a check with one has passed.
    """

    check: str
    detail: str
    remedy: str = ""
    warning: str = ""

    @property
    def passed(self) -> bool:
        """Whether there is nothing to fix."""
        return not self.remedy
