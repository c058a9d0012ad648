"""What a coordinator remembers of ledgers over all its runs."""

from __future__ import annotations

import pytest

from fedloom.common.errors import ConfigError
from fedloom.common.signed_heads import KnownHead, SeenHead, SignedHead, follow
from fedloom.privacy.ledger.entries import FIRST_PREV
from fedloom.server.head_registry import HeadRegistry

KEY, PLAN = "a" * 64, "b" * 64
BODIES = tuple(f"{number:064x}" for number in range(1, 20))
FIRST = follow(SeenHead(epoch=0, seq=-1, hash=FIRST_PREV), BODIES[:1])


def known(seq: int, lost: tuple[int, ...] = ()) -> KnownHead:
    seen = follow(FIRST, BODIES[1 : seq + 1])
    head = SignedHead(lost=lost, seq=seq, hash=seen.hash, nonce="0" * 32, signature="")
    return KnownHead(plan=PLAN, run="r", head=head)


@pytest.fixture
def registry(tmp_path) -> HeadRegistry:
    found = HeadRegistry(tmp_path / "heads.json")
    assert found.learn(KEY, known(3), ())
    assert found.learn(KEY, known(7), BODIES[4:8])
    return found


def test_links_lead_from_any_entry_that_was_seen_to_any_later_head(registry):
    assert registry.links(KEY, known(7).head, 3) == BODIES[4:8]
    assert registry.links(KEY, known(6).head, 4) == BODIES[5:7]
    assert registry.links(KEY, known(7).head, 7) == ()
    assert registry.links(KEY, known(7).head, 0) == BODIES[4:8]  # as far as is known
    assert registry.links("c" * 64, known(7).head, 3) == ()


def test_a_head_that_went_back_or_forked_is_not_learned(registry):
    fork = follow(FIRST, ("e" * 64,) * 9)
    head = SignedHead(lost=(), seq=9, hash=fork.hash, nonce="0" * 32, signature="")
    assert not registry.learn(KEY, KnownHead(plan=PLAN, run="r", head=head), ("e" * 64,) * 9)
    assert not registry.goes_on(KEY, SeenHead(epoch=0, seq=6, hash="e" * 64))
    assert not registry.goes_on(KEY, SeenHead(epoch=0, seq=7, hash="e" * 64))
    assert registry.newest(KEY) == known(7)


def test_a_promise_from_before_another_run_lies_on_what_is_known(registry):
    assert registry.learn(KEY, known(5), ())
    other = KnownHead(
        plan=PLAN,
        run="r",
        head=SignedHead(lost=(), seq=5, hash="e" * 64, nonce="0" * 32, signature=""),
    )
    assert not registry.learn(KEY, other, ())
    assert registry.newest(KEY) == known(7)


def test_a_restored_ledger_is_taken_if_it_counts_all_that_is_known(registry):
    assert not registry.learn(KEY, known(2, lost=(6,)), ())
    assert registry.learn(KEY, known(2, lost=(7,)), ())
    assert registry.newest(KEY) == known(2, lost=(7,))
    assert not registry.goes_on(KEY, known(9).head.seen)  # the lost ledger does not come back


def test_two_runs_that_save_keep_the_newer_head(registry, tmp_path):
    registry.save()
    one, two = (HeadRegistry(tmp_path / "heads.json") for _ in range(2))
    assert one.learn(KEY, known(9), BODIES[8:10])
    one.save()
    two.save()
    assert HeadRegistry(tmp_path / "heads.json").newest(KEY) == known(9)
    assert (tmp_path / "heads.json").stat().st_mode & 0o077 == 0


def test_a_damaged_file_is_told(tmp_path):
    (tmp_path / "heads.json").write_text("{")
    with pytest.raises(ConfigError):
        HeadRegistry(tmp_path / "heads.json")


def test_what_is_known_goes_on_under_a_new_key_and_is_found_by_the_old_one(registry, tmp_path):
    """Also beside a run that read the file before the keys changed, and writes it afterwards."""
    registry.save()
    new = "d" * 64
    beside = HeadRegistry(tmp_path / "heads.json")
    HeadRegistry(tmp_path / "heads.json").hand_on((KEY,), new)
    beside.learn("e" * 64, known(2), ())
    beside.save()
    for found in (beside, HeadRegistry(tmp_path / "heads.json")):
        assert found.newest(new) == found.newest(KEY) == known(7)
        assert found.links(new, known(7).head, 3) == BODIES[4:8]
        assert not found.goes_on(new, known(3).head.seen)
        assert not found.learn(new, known(9), ())
        assert found.learn(new, known(9), BODIES[8:10]) and found.newest(KEY) == known(9)
