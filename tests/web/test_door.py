"""One link, one session, and what ends it."""

from __future__ import annotations

import re

import pytest

from fedloom.common.errors import DiskFullError
from fedloom.web.door import Door


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def links():
    return []


@pytest.fixture
def door(clock, links):
    made = Door(links.append, clock=clock)
    made.knock()
    return made


def token(link):
    return re.search("token=(.+)", link)[1]


def test_a_link_lets_one_browser_in(door, links):
    session = door.enter(token(links[0]))
    assert session is not None and door.session(session.cookie, asked=True) is session
    assert door.enter(token(links[0])) is None


@pytest.mark.parametrize("wrong", ["", "x", "é"])
def test_a_wrong_token_lets_nobody_in_and_spoils_nothing(door, links, wrong):
    assert door.enter(wrong) is None
    assert door.enter(token(links[0])) is not None


def test_an_empty_token_lets_nobody_in_after_the_link_was_used(door, links):
    door.enter(token(links[0]))
    assert door.enter("") is None


def test_a_link_is_good_for_ten_minutes(door, links, clock):
    clock.now += 601
    assert door.enter(token(links[0])) is None
    door.knock()
    assert door.enter(token(links[1])) is not None


def test_knocking_prints_no_second_link_while_one_is_good_or_somebody_is_in(door, links, clock):
    door.knock()
    assert len(links) == 1
    door.enter(token(links[0]))
    clock.now += 700
    door.knock()
    assert len(links) == 1


def test_a_session_that_nobody_uses_ends(door, links, clock):
    session = door.enter(token(links[0]))
    for _ in range(3):
        clock.now += 1700
        assert door.session(session.cookie, asked=True)
    clock.now += 1801
    assert door.session(session.cookie, asked=True) is None
    door.knock()
    assert len(links) == 2


def test_a_page_that_refreshes_itself_keeps_no_session_alive(door, links, clock):
    session = door.enter(token(links[0]))
    for _ in range(3):
        clock.now += 700
        seen = door.session(session.cookie, asked=False)
    assert seen is None


def test_a_session_ends_after_twelve_hours(door, links, clock):
    session = door.enter(token(links[0]))
    for _ in range(12 * 3):
        clock.now += 1200
        seen = door.session(session.cookie, asked=True)
    assert seen is None


def test_leaving_ends_the_session(door, links):
    session = door.enter(token(links[0]))
    door.leave()
    assert door.session(session.cookie, asked=True) is None


def test_two_servers_have_different_paths_and_tokens(links):
    Door(links.append).knock()
    Door(links.append).knock()
    assert links[0].split("/")[1] != links[1].split("/")[1] and token(links[0]) != token(links[1])


def test_nobody_is_let_in_who_cannot_be_noted_and_the_link_stays_good(links):
    noted = []

    def note():
        noted.append("enter")
        if len(noted) == 1:
            raise DiskFullError("the disk is full")

    door = Door(links.append, entering=note)
    door.knock()
    with pytest.raises(DiskFullError):
        door.enter(token(links[0]))
    assert door.enter("wrong") is None and noted == ["enter"]
    assert door.enter(token(links[0])) is not None
