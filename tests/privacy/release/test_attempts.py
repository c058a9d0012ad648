"""Void attempts and rosters, as the sites' ledgers show them."""

from __future__ import annotations

import pytest

from fedloom.common.errors import FedloomError, LedgerError
from fedloom.privacy.release.attempts import attempts_of, check_rosters
from fedloom.privacy.release.statement import make_statement

FIRST, SECOND, OTHER = "a" * 64, "c" * 64, "d" * 64


def test_void_attempts_are_stated_and_charged(secure):
    """North stayed silent in the first attempt, and west was not asked in the second."""
    plan = secure.plan()
    both = {2: {1: FIRST, 2: SECOND}}
    answered = {"north": {2: {2: SECOND}}, "west": {2: {1: FIRST}}, "east": both, "south": both}
    rosters = {SECOND: ["east", "north", "south"]}
    accounts = secure.accounts(plan, answered, rosters)
    statement = make_statement(plan, accounts)
    void = statement["failure_and_retry"]["void_attempts"]
    assert void == [{"round": 2, "attempt": 1, "charged_at": ["east", "south", "west"]}]
    assert statement["sites"]["east"]["attempts_charged"] == 4
    assert statement["sites"]["north"]["attempts_charged"] == 3
    more, fewer = (statement["sites"][name]["epsilon_of_commits"] for name in ("east", "north"))
    assert fewer < more <= statement["epsilon"]
    assert "void attempts that were charged: 1" in check_rosters(plan, accounts)


def test_the_ledger_has_no_room_for_more_attempts_than_are_reserved(fake, secure, secure_keys):
    thrice = {2: {1: FIRST, 2: SECOND, 3: OTHER}}
    with pytest.raises(FedloomError):
        fake.make_extract(secure_keys["east"], secure.plan(), "east", attempts=thrice)


def test_in_local_trust_nothing_is_void_where_nothing_was_answered(plan):
    assert attempts_of({}) == []
    assert check_rosters(plan, {})


@pytest.mark.parametrize(
    "answered, complaint",
    [
        ({"north": {1: {1: OTHER}}}, "different requests"),
        ({"north": {1: {2: FIRST}}}, "by 1 sites"),
    ],
)
def test_a_roster_that_cannot_have_opened_is_refused(secure, answered, complaint):
    plan = secure.plan()
    with pytest.raises(LedgerError, match=complaint):
        check_rosters(plan, secure.accounts(plan, answered))


def test_a_ledger_that_a_sum_needs_cannot_be_left_out(secure):
    """Four sites were in each sum: three ledgers would do for the noise, and hide the fourth."""
    plan = secure.plan()
    accounts = secure.accounts(plan)
    assert "its whole roster" in check_rosters(plan, accounts)
    for name in accounts:
        rest = {other: account for other, account in accounts.items() if other != name}
        with pytest.raises(LedgerError, match=f"no ledger here shows that of {name}"):
            check_rosters(plan, rest)


def test_sites_that_name_other_rosters_were_not_in_one_sum(secure):
    plan = secure.plan()
    mine, theirs = secure.accounts(plan), secure.accounts(plan, rosters={"b" * 64: ["east"]})
    with pytest.raises(LedgerError, match="different requests"):
        check_rosters(plan, {**mine, "east": theirs["east"]})


def test_a_round_that_nobody_answered_is_refused(secure):
    plan = secure.plan()
    with pytest.raises(LedgerError, match="no ledger shows an answer to round 1"):
        check_rosters(plan, {})
