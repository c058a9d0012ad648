"""A home is for one unit of privacy: losses of records and of persons are never added up."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from fedloom.common.errors import ConfigError, LedgerError, RefusedError
from fedloom.privacy.events import gaussian
from fedloom.privacy.ledger import compose_homes, read_ledger
from fedloom.privacy.ledger.entries import new_entry
from fedloom.privacy.ledger.state import replay

if TYPE_CHECKING:
    from fedloom.privacy.ledger import Ledger
    from tests.privacy.ledger.conftest import SmallHome

EVENT = gaussian(50.0)


def check(ledger: Ledger, unit: str, id_column: str | None) -> None:
    ledger.check_grant(plan="another", unit=unit, id=id_column, learned=())


def test_a_plan_for_another_unit_is_refused_with_the_remedy(
    small: SmallHome, ledger: Ledger
) -> None:
    head = ledger.head
    with pytest.raises(RefusedError, match="'patient'.*this home's is a record.*Ask for a study"):
        small.approve(ledger, "persons", EVENT, unit="person")
    with pytest.raises(RefusedError, match="cannot be added up"):
        check(ledger, "person", "patient")
    check(ledger, "record", None)
    small.approve(ledger, "records", EVENT)
    assert ledger.head[0] == head[0] + 1
    assert (ledger.budget()["unit"], ledger.budget()["id"]) == ("record", None)


def test_persons_told_apart_by_another_column_are_another_unit(small: SmallHome) -> None:
    with small.open() as ledger:
        ledger.revoke(small.plan)
        small.approve(ledger, "patients", EVENT, unit="person")
        with pytest.raises(RefusedError, match="by 'family'.*by 'patient'"):
            check(ledger, "person", "family")
        with pytest.raises(RefusedError, match="names the column"):
            check(ledger, "person", None)


def test_a_home_may_change_its_unit_only_while_nothing_came_of_the_other(
    small: SmallHome,
) -> None:
    with small.open() as ledger:
        ledger.revoke(small.plan)
        assert ledger.budget()["unit"] is None
        small.approve(ledger, "persons", EVENT, unit="person")
        with pytest.raises(RefusedError, match="cannot be added up"):
            small.approve(ledger, small.plan, EVENT)


@pytest.mark.parametrize("answered", [True, False])
def test_a_revoked_plan_counts_for_the_unit_while_it_may_answer_or_has(
    small: SmallHome, ledger: Ledger, answered: bool
) -> None:
    if answered:
        small.answer(ledger, 1)
    ledger.revoke(small.plan)
    with pytest.raises(RefusedError, match="cannot be added up"):
        small.approve(ledger, "persons", EVENT, unit="person")
    ledger.finish(small.plan, small.run)
    if answered:
        with pytest.raises(RefusedError, match="cannot be added up"):
            small.approve(ledger, "persons", EVENT, unit="person")
    else:
        small.approve(ledger, "persons", EVENT, unit="person")


def test_a_ledger_of_two_units_is_no_ledger(small: SmallHome) -> None:
    entries = list(read_ledger(small.path).entries)
    data = {**entries[-1].read().data, "plan": "persons", "unit": "person", "id": "patient"}
    forged = new_entry(small.key, len(entries), entries[-1].hash, "approve", data)
    with pytest.raises(LedgerError, match="breaks a rule"):
        replay([*entries, forged])


def test_homes_of_two_units_are_not_composed(
    small: SmallHome, new_home: Callable[[str, float], SmallHome]
) -> None:
    other = new_home("other", 3.0)
    with other.open() as ledger:
        small.reserve(ledger)
        ledger.finish(other.plan, other.run)
        ledger.revoke(other.plan)
        small.approve(ledger, "persons", EVENT, unit="person")
    views = [read_ledger(home.path) for home in (small, other)]
    assert [view.unit for view in views] == ["record", "person"]
    with pytest.raises(ConfigError, match="name homes of one unit"):
        compose_homes(views)
    assert compose_homes([views[1], views[1]]) == 0.0
