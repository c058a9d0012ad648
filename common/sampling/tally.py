"""How many records constraints have cost: drawn again, or repaired."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Tally"]


@dataclass(slots=True)
class Tally:
    """Counts of one sampling; post-processing, so they may be told to anyone.

    Attributes:
      rows: Records that were kept.
      drawn: Records that were drawn from the generator.
      rejected: How many of those broke a constraint.
      repaired: How many of the records kept were changed to keep the constraints.
    """

    rows: int = 0
    drawn: int = 0
    rejected: int = 0
    repaired: int = 0

    def add(self, other: Tally) -> None:
        """Adds the counts of another part of the same sampling."""
        self.rows += other.rows
        self.drawn += other.drawn
        self.rejected += other.rejected
        self.repaired += other.repaired

    def __str__(self) -> str:
        """Returns one line for people.

        >>> print(Tally(rows=1000, drawn=1250, rejected=250, repaired=1))
        constraints: kept in every row; 20% of the rows drawn broke one, 0.1% are repaired
        >>> print(Tally(rows=10, drawn=10))
        constraints: kept in every row; none of the rows drawn broke one
        """
        kept = "constraints: kept in every row; "
        if not self.rejected:
            return kept + "none of the rows drawn broke one"
        broken = f"{_percent(self.rejected, self.drawn)} of the rows drawn broke one"
        return f"{kept}{broken}, {_percent(self.repaired, self.rows)} are repaired"


def _percent(part: int, whole: int) -> str:
    return "none" if not part else f"{100 * part / whole:.2g}%"
