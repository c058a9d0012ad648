"""What was spent by day, against prices that are computed from the events themselves."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from fedloom.privacy.accounting import epsilon_pld
from fedloom.privacy.events import repeat
from fedloom.privacy.ledger import Ledger, read_ledger
from fedloom.privacy.ledger import entries as ledger_entries
from fedloom.privacy.ledger.history import spending_by_day

if TYPE_CHECKING:
    from tests.privacy.ledger.conftest import SmallHome

DELTA = 1e-5


@pytest.fixture
def next_day(monkeypatch: pytest.MonkeyPatch):
    """Every call lets the ledger's clock go on by a day."""
    days = itertools.count(2)

    def go_on() -> None:
        day = next(days)

        class Clock(ledger_entries.datetime):
            @classmethod
            def now(cls, tz=None):
                return cls(2030, 1, day, tzinfo=tz)

        monkeypatch.setattr(ledger_entries, "datetime", Clock)

    return go_on


def priced(small: SmallHome, number: int) -> float:
    return epsilon_pld([repeat(small.step, number)], DELTA, 1e-3) if number else 0.0


def test_each_day_ends_with_the_price_of_what_had_left(
    small: SmallHome, ledger: Ledger, next_day
) -> None:
    for number in (1, 2, 3):
        next_day()
        small.answer(ledger, number)
    days = spending_by_day(read_ledger(small.path).entries, DELTA)
    assert [day.day for day in days][1:] == ["2030-01-02", "2030-01-03", "2030-01-04"]
    spent = [day.epsilon_spent for day in days[1:]]
    assert spent == pytest.approx([priced(small, k) for k in (1, 2, 3)], abs=2e-3)
    # An unfinished run holds its whole price from its reservation on.
    held = [day.epsilon_held for day in days[1:]]
    assert held == pytest.approx([priced(small, 3)] * 3, abs=2e-3)


def test_a_day_on_which_nothing_changed_is_left_out(
    small: SmallHome, ledger: Ledger, next_day
) -> None:
    next_day()
    ledger.pause()
    next_day()
    ledger.resume()
    assert len(spending_by_day(read_ledger(small.path).entries, DELTA)) == 1


def test_of_many_days_the_first_and_the_last_are_kept(
    small: SmallHome, ledger: Ledger, next_day
) -> None:
    for number in (1, 2, 3):
        next_day()
        small.answer(ledger, number)
    entries = read_ledger(small.path).entries
    whole, few = spending_by_day(entries, DELTA), spending_by_day(entries, DELTA, most=2)
    assert few == [whole[0], whole[-1]]
