"""What a home had spent and held at the end of each day, replayed from its ledger.

The numbers are functions of the entries alone, which the site's extracts publish too; nothing is
computed from records. An entry keeps its day and no finer time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fedloom.privacy.accounting import epsilon_pld
from fedloom.privacy.events import DpEvent
from fedloom.privacy.ledger.entries import Entry
from fedloom.privacy.ledger.state import State

__all__ = ["DayEnd", "spending_by_day"]

_INTERVAL = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class DayEnd:
    """Where a home stood at the end of a day.

    Attributes:
      day: UTC, ISO 8601.
      epsilon_spent: of everything that had left, by PLD.
      epsilon_held: of that and of all that unfinished runs held, by PLD.
    """

    day: str
    epsilon_spent: float
    epsilon_held: float


def spending_by_day(entries: Sequence[Entry], delta: float, *, most: int = 60) -> list[DayEnd]:
    """Returns where a home stood at the end of each day on which that changed.

    Args:
      entries: a whole chain that was checked, as `read_ledger` returns it.
      delta: at which epsilon is stated, in (0, 1).
      most: of more days than that, so many are kept, evenly spread, first and last among them.

    Returns:
      The days in order, the first that of the ledger's first entry.
    """
    state = State()
    days: list[tuple[str, list[DpEvent], list[DpEvent]]] = []
    for entry in entries:
        body = entry.read()
        state.apply(body.kind, body.data)
        stand = (body.day, list(state.committed), list(state.held))
        if days and days[-1][0] == body.day:
            days[-1] = stand
        else:
            days.append(stand)
    changed = [
        day for number, day in enumerate(days) if number == 0 or day[1:] != days[number - 1][1:]
    ]
    if len(changed) > most:
        step = (len(changed) - 1) / (most - 1)
        changed = [changed[round(number * step)] for number in range(most)]
    return [
        DayEnd(
            day=day,
            epsilon_spent=epsilon_pld(committed, delta, _INTERVAL),
            epsilon_held=epsilon_pld(held, delta, _INTERVAL),
        )
        for day, committed, held in changed
    ]
