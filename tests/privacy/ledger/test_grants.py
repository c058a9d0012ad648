"""An approval is a grant: so many runs, admitted, held and used up together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fedloom.common.errors import (
    BudgetExceededError,
    LedgerError,
    NotApprovedError,
    RefusedError,
    UsedUpError,
)
from fedloom.privacy.accounting import epsilon_pld
from fedloom.privacy.events import repeat
from fedloom.privacy.keys import public_key_hex
from fedloom.privacy.ledger import Ledger, read_ledger, verify_extract
from fedloom.privacy.ledger.entries import new_entry
from fedloom.privacy.ledger.state import replay
from tests.given import given

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.privacy.ledger.conftest import SmallHome

DELTA = 1e-5
PLAN = "p"
LEARNED = ("1" * 64, "2" * 64)


def approve(home: SmallHome, ledger: Ledger, runs: int) -> None:
    home.approve(ledger, PLAN, repeat(home.step, 3), runs=runs)


def reserve(home: SmallHome, ledger: Ledger, run: str, plan: str = PLAN) -> None:
    ledger.reserve(plan=plan, run=run, event=repeat(home.step, 3))


def do_run(home: SmallHome, ledger: Ledger, run: str, *, answers: int, plan: str = PLAN) -> None:
    """Reserves a run, answers so many of its three steps, and finishes it."""
    reserve(home, ledger, run, plan)
    for number in range(1, answers + 1):
        key = {"plan": plan, "run": run, "round": number, "attempt": 1}
        ledger.open_attempt(**key, query="q", roster=["s"], request_digest="d", event=home.step)
        ledger.commit(**key, arrays=given(b"x"))
    ledger.finish(plan, run)


def spent(ledger: Ledger) -> dict[str, float]:
    return {key: value for key, value in ledger.budget().items() if key.startswith("epsilon_")}


def price(home: SmallHome, steps: int) -> float:
    return epsilon_pld([repeat(home.step, steps)], DELTA, 1e-3)


def test_an_approval_is_for_one_run_whatever_room_is_left(small: SmallHome) -> None:
    with small.open() as ledger:
        do_run(small, ledger, "first", answers=1, plan=small.plan)
        assert ledger.admission(repeat(small.step, 3)).fits
        head, before = ledger.head, spent(ledger)
        with pytest.raises(UsedUpError, match="for one run.*fedloom site approve") as caught:
            reserve(small, ledger, "second", small.plan)
        assert caught.value.runs == 1
        assert (ledger.head, spent(ledger)) == (head, before)
        small.approve(ledger, small.plan, repeat(small.step, 3))
        do_run(small, ledger, "second", answers=3, plan=small.plan)


def test_a_run_that_goes_on_uses_its_approval_too(small: SmallHome) -> None:
    with small.open() as ledger:
        small.reserve(ledger)
        with pytest.raises(UsedUpError, match="run run-1 is not finished"):
            reserve(small, ledger, "second", small.plan)
        small.answer(ledger, 1)


def test_all_runs_of_a_grant_are_held_from_the_first_on(
    new_home: Callable[[str, float], SmallHome],
) -> None:
    home = new_home("three", 3.0)
    with home.open() as ledger:
        approve(home, ledger, 3)
        assert spent(ledger)["epsilon_reserved"] == 0
        reserve(home, ledger, "a")
        assert spent(ledger)["epsilon_reserved"] == price(home, 9)
        ledger.finish(PLAN, "a")
        assert spent(ledger)["epsilon_reserved"] == 0, "nothing left, so nothing is held"
        do_run(home, ledger, "b", answers=2)
        assert spent(ledger)["epsilon_reserved"] == price(home, 2 + 6)
        do_run(home, ledger, "c", answers=3)
        do_run(home, ledger, "d", answers=1)
        assert spent(ledger)["epsilon_reserved"] == spent(ledger)["epsilon_spent"] == price(home, 6)
        with pytest.raises(UsedUpError, match="for 3 runs") as caught:
            reserve(home, ledger, "e")
        assert caught.value.runs == 3
        rows = [row for row in ledger.budget()["studies"] if row["plan"] == PLAN]
        assert [(row["run"], row["status"]) for row in rows] == [
            ("a", "given back"),
            ("b", "finished"),
            ("c", "finished"),
            ("d", "finished"),
        ]
    read_ledger(home.path).verify(1e-3)


def test_a_grant_needs_room_for_all_of_its_runs_at_once(
    new_home: Callable[[str, float], SmallHome],
) -> None:
    """One run costs 0.78 and fits a limit of 1; two do not, and neither is let in alone."""
    home = new_home("narrow", 1.0)
    assert price(home, 3) < 1.0 < price(home, 6)
    with home.open() as ledger:
        approve(home, ledger, 2)
        with pytest.raises(BudgetExceededError, match="2 runs"):
            reserve(home, ledger, "a")
        assert spent(ledger)["epsilon_reserved"] == 0


def test_a_revoked_grant_holds_what_was_answered_alone(small: SmallHome) -> None:
    with small.open() as ledger:
        approve(small, ledger, 4)
        do_run(small, ledger, "a", answers=1)
        ledger.revoke(PLAN)
        assert spent(ledger)["epsilon_reserved"] == spent(ledger)["epsilon_spent"]
        with pytest.raises(NotApprovedError, match="revoked"):
            reserve(small, ledger, "b")
        approve(small, ledger, 1)
        do_run(small, ledger, "b", answers=1)
        assert [grant.num_priced for grant in ledger.grants(PLAN)] == [1, 1]


def test_a_plan_is_approved_anew_only_when_nothing_of_the_approval_is_left(
    small: SmallHome,
) -> None:
    with small.open() as ledger:
        approve(small, ledger, 2)
        with pytest.raises(RefusedError, match="a run is left"):
            approve(small, ledger, 1)
        reserve(small, ledger, "a")
        with pytest.raises(RefusedError, match="run a of it is not finished"):
            approve(small, ledger, 1)
        ledger.finish(PLAN, "a")
        with pytest.raises(RefusedError, match="a run is left"):
            approve(small, ledger, 1)
        do_run(small, ledger, "b", answers=1)
        do_run(small, ledger, "c", answers=1)
        with pytest.raises(UsedUpError, match="nothing is left to revoke"):
            ledger.revoke(PLAN)
        approve(small, ledger, 1)


def test_an_approval_of_the_same_digest_for_something_else_is_refused(small: SmallHome) -> None:
    with small.open() as ledger:
        ledger.revoke(small.plan)
        with pytest.raises(RefusedError, match="as something else"):
            small.approve(ledger, small.plan, repeat(small.step, 2))


def test_a_ledger_with_a_run_beyond_its_grant_is_no_ledger(small: SmallHome) -> None:
    """What a site would have to forge to hide that it let a plan run again."""
    with small.open() as ledger:
        do_run(small, ledger, "first", answers=1, plan=small.plan)
    entries = list(read_ledger(small.path).entries)
    again = next(e.read().data for e in entries if e.read().kind == "reserve")
    data = {**again, "run": "second"}
    entries.append(new_entry(small.key, len(entries), entries[-1].hash, "reserve", data))
    with pytest.raises(LedgerError, match="breaks a rule of the ledger.*for one run"):
        replay(entries)


def learn(home: SmallHome, ledger: Ledger) -> None:
    """Two learning plans, the second on the first's schema; then the plan on both."""
    home.approve(ledger, LEARNED[0], repeat(home.step, 3), runs=2)
    for run in ("a", "b"):
        do_run(home, ledger, run, answers=3, plan=LEARNED[0])
    home.approve(ledger, LEARNED[1], repeat(home.step, 3), learned=LEARNED[:1])
    do_run(home, ledger, "c", answers=3, plan=LEARNED[1])
    home.approve(ledger, PLAN, repeat(home.step, 3), learned=LEARNED[1:])
    do_run(home, ledger, "d", answers=3)


def test_an_extract_shows_the_plans_that_learned_the_schema(
    new_home: Callable[[str, float], SmallHome],
) -> None:
    home = new_home("learned", 9.0)
    with home.open() as ledger:
        learn(home, ledger)
        extract = ledger.extract(PLAN, "d")
        summary = verify_extract(extract, public_key_hex(home.key))
        assert list(summary.learned) == list(LEARNED), "also one that the schema does not name"
        assert [g.num_priced for g in summary.learned[LEARNED[0]]] == [2]
        assert [g.num_priced for g in summary.learned[LEARNED[1]]] == [1]
        assert [run.run for run in summary.runs] == ["d"]
        assert summary.num_hidden == 1, "the approval of the home's first plan"
        own = verify_extract(ledger.extract(LEARNED[1], "c"), public_key_hex(home.key))
        assert list(own.learned) == [LEARNED[0]] and own.plan == LEARNED[1]


@pytest.mark.parametrize("kind", ["approve", "reserve", "open", "commit", "finish"])
@pytest.mark.parametrize("plan", LEARNED)
def test_no_entry_of_a_learning_plan_can_be_hidden(
    new_home: Callable[[str, float], SmallHome], plan: str, kind: str
) -> None:
    home = new_home("hidden", 9.0)
    with home.open() as ledger:
        learn(home, ledger)
        extract = ledger.extract(PLAN, "d")
    for number, value in enumerate(extract):
        body = value["body"] if "body" in value else {"kind": ""}
        if body["kind"] == kind and body["data"].get("plan") == plan:
            without = {name: value[name] for name in value if name != "body"}
            hidden = [*extract[:number], without, *extract[number + 1 :]]
            with pytest.raises(LedgerError):
                verify_extract(hidden, public_key_hex(home.key))


def test_a_learning_plan_cannot_be_hidden_as_a_whole(
    new_home: Callable[[str, float], SmallHome],
) -> None:
    home = new_home("whole", 9.0)
    with home.open() as ledger:
        learn(home, ledger)
        extract = ledger.extract(PLAN, "d")
    hidden = [
        {name: value[name] for name in value if name != "body"}
        if value.get("body", {}).get("data", {}).get("plan") == LEARNED[0]
        else value
        for value in extract
    ]
    with pytest.raises(LedgerError, match="one of them was left out"):
        verify_extract(hidden, public_key_hex(home.key))
