"""Heads of other ledgers: what goes on from where it was, and what went back."""

from __future__ import annotations

import pytest

from fedloom.common.errors import LedgerError
from fedloom.common.signed_heads import SeenHead, SignedHead, follow
from fedloom.privacy.ledger import SeenHeads, goes_on
from fedloom.privacy.ledger.entries import FIRST_PREV

BODIES = tuple(f"{number:064x}" for number in range(1, 10))
FIRST = follow(SeenHead(epoch=0, seq=-1, hash=FIRST_PREV), BODIES[:1])


def at(seq: int) -> SeenHead:
    """The head of the ledger of these bodies at an entry."""
    return follow(FIRST, BODIES[1 : seq + 1])


def signed(seen: SeenHead, lost: tuple[int, ...] = ()) -> SignedHead:
    return SignedHead(lost=lost, seq=seen.seq, hash=seen.hash, nonce="0" * 32, signature="")


@pytest.mark.parametrize("before", range(6))
@pytest.mark.parametrize("now", range(6))
def test_a_ledger_goes_on_exactly_where_it_is_not_older(before, now):
    links = BODIES[1 : now + 1]
    assert goes_on(at(before), signed(at(now)), links) == (now >= before)


def test_a_first_head_is_taken():
    assert goes_on(None, signed(at(3)), ())


@pytest.mark.parametrize("change", ["missing", "other", "fork"])
def test_without_the_right_links_nothing_goes_on(change):
    links = list(BODIES[1:6])
    head = signed(at(5))
    if change == "missing":
        links = links[3:]
    elif change == "other":
        links[-1] = "f" * 64
    else:  # a restored ledger that has grown past the number that was seen
        fork = follow(at(1), ("e" * 64,) * 6)
        head, links = signed(fork), ["e" * 64] * 6
    assert not goes_on(at(2), head, links)


@pytest.mark.parametrize(("lost", "holds"), [((5,), True), ((4,), False), ((9, 2), True)])
def test_a_restored_ledger_goes_on_from_what_it_counts_as_lost(lost, holds):
    assert goes_on(at(5), signed(at(2), lost), ()) == holds


def test_nothing_goes_on_behind_a_restoration():
    seen = SeenHead(epoch=1, seq=2, hash=at(2).hash)
    assert not goes_on(seen, signed(at(5)), BODIES[1:6])


def test_a_run_is_held_against_its_own_heads_and_a_new_one_against_the_newest():
    seen = SeenHeads({}).with_run("p", "one", {"k": at(3)}).with_run("p", "two", {"k": at(5)})
    assert seen.get("p", "one", "k") == at(3)
    assert seen.get("p", "three", "k") == at(5) and seen.get("p", "three", "other") is None
    ended = seen.without_run("p", "two").without_run("p", "one")
    assert ended.get("q", "four", "k") == at(5) and len(ended.rows()) == 1


def test_plans_are_told_after_their_runs_have_ended_each_with_its_newest_head():
    seen = SeenHeads({}).with_run("p", "one", {"k": at(3)}).with_run("q", "two", {"k": at(5)})
    ended = seen.without_run("p", "one").without_run("q", "two")
    assert SeenHeads.of_rows(ended.rows()).notes({})["k"].plans == {"p": at(3), "q": at(5)}


def test_what_is_remembered_is_read_again_and_damage_is_told():
    seen = SeenHeads({}).with_run("p", "one", {"k": at(3)})
    assert SeenHeads.of_rows(seen.rows()).get("p", "one", "k") == at(3)
    assert seen.notes({})["k"].plans == {"p": at(3)}
    with pytest.raises(LedgerError):
        SeenHeads.of_rows({("p", "one"): b"{"})
