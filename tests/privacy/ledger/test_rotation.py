"""A ledger under new keys: what readers accept, and what each must refuse."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from fedloom.common.digest import canonical_json, digest, sha256_hex
from fedloom.common.errors import LedgerError, RefusedError, VerificationError
from fedloom.common.typed import plain, read_typed
from fedloom.privacy.events import repeat
from fedloom.privacy.keys import PrivateKey, generate_exchange_key, generate_key, public_key_hex
from fedloom.privacy.ledger import Ledger, RotationEntry, SiteKeys, read_ledger, verify_extract
from fedloom.privacy.ledger.chain import verify_chain
from fedloom.privacy.ledger.entries import Entry, new_entry
from fedloom.privacy.ledger.rotation import KeyRotation, check_rotations, follows
from fedloom.privacy.ledger.state import replay
from fedloom.privacy.node_key import generate_node_key, node_key_hex
from tests.privacy.ledger.conftest import SmallHome


class Keys:
    """Three private keys of a site."""

    def __init__(self, folder: Path, signing: PrivateKey | None = None) -> None:
        folder.mkdir(exist_ok=True)
        self.signing = signing or generate_key(folder / "key.pem")
        self.public = SiteKeys(
            key=public_key_hex(self.signing),
            exchange_key=public_key_hex(generate_exchange_key(folder / "exchange.pem")),
            node_key=node_key_hex(generate_node_key(folder / "node.pem")),
        )


@pytest.fixture
def old(small: SmallHome, tmp_path: Path) -> Keys:
    """The keys of the home, whose approval has ended."""
    with small.open() as ledger:
        small.reserve(ledger)
        small.answer(ledger, 1)
        ledger.finish(small.plan, small.run)
    return Keys(tmp_path / "old", small.key)


@pytest.fixture
def new(tmp_path: Path) -> Keys:
    return Keys(tmp_path / "new")


def rotate(small: SmallHome, old: Keys, new: Keys) -> RotationEntry:
    with small.open() as ledger:
        entry = ledger.rotate(old.public, new.public, new.signing)
        ledger.pause()
        ledger.resume()
    small.key = new.signing
    return entry


def test_later_entries_are_signed_by_the_new_key_and_the_loss_goes_on(small, old, new):
    spent = read_ledger(small.path).budget(interval=1e-3)
    rotate(small, old, new)
    view = read_ledger(small.path)
    assert (view.public_key, view.former_keys) == (new.public.key, (old.public.key,))
    assert view.budget(interval=1e-3) == spent
    assert verify_chain(view.entries, old.public.key) == new.public.key
    with small.open() as ledger:
        small.approve(ledger, "plan-b", repeat(small.step, 3))
        ledger.reserve(plan="plan-b", run="r", event=repeat(small.step, 3))
        assert ledger.budget()["epsilon_reserved"] > spent["epsilon_spent"]


def test_the_old_key_opens_the_ledger_no_more(small, old, new):
    rotate(small, old, new)
    with pytest.raises(LedgerError):
        Ledger.open(small.path, old.signing)


def test_keys_do_not_change_while_a_run_is_open_or_a_plan_is_approved(small, tmp_path, new):
    old = Keys(tmp_path / "old", small.key)
    with small.open() as ledger:
        with pytest.raises(RefusedError, match="approved here"):
            ledger.rotate(old.public, new.public, new.signing)
        small.reserve(ledger)
        ledger.revoke(small.plan)
        with pytest.raises(RefusedError, match="under way"):
            ledger.rotate(old.public, new.public, new.signing)
        ledger.finish(small.plan, small.run)
        ledger.rotate(old.public, new.public, new.signing)


def test_the_nodes_key_changes_under_an_approval(small, tmp_path):
    old = Keys(tmp_path / "old", small.key)
    node = node_key_hex(generate_node_key(tmp_path / "node.pem"))
    new = SiteKeys(key=old.public.key, exchange_key=old.public.exchange_key, node_key=node)
    with small.open() as ledger:
        ledger.rotate(old.public, new, small.key)
        small.reserve(ledger)
    assert read_ledger(small.path).former_keys == ()


def test_a_key_that_was_in_force_never_comes_back(small, old, new):
    rotate(small, old, new)
    with small.open() as ledger, pytest.raises(RefusedError):
        ledger.rotate(new.public, old.public, old.signing)


def test_an_extract_leads_from_the_first_key_to_the_plans(small, old, new):
    rotate(small, old, new)
    with small.open() as ledger:
        small.approve(ledger, "plan-b", small.step)
        ledger.reserve(plan="plan-b", run="r", event=small.step)
        ledger.finish("plan-b", "r")
        extract = ledger.extract("plan-b", "r")
        before = ledger.extract(small.plan, small.run)
    summary = verify_extract(extract, new.public.key)
    assert (summary.public_key, summary.former_keys) == (new.public.key, (old.public.key,))
    assert verify_extract(before, old.public.key).former_keys == ()
    for shown, key in ((extract, old.public.key), (before, new.public.key)):
        with pytest.raises(LedgerError, match="another key"):
            verify_extract(shown, key)
    hidden = copy.deepcopy(extract)
    rotation = next(e for e in hidden if e.get("body", {}).get("kind") == "key-rotated")
    del rotation["body"]
    with pytest.raises(LedgerError, match="not signed"):
        verify_extract(hidden, new.public.key)


def forged(entry: RotationEntry, **changes: Any) -> RotationEntry:
    return read_typed({**plain(entry), **changes}, RotationEntry, where="a forged entry")


def resigned(entry: RotationEntry, rotation: KeyRotation, by: PrivateKey) -> RotationEntry:
    """The entry that says `rotation`, signed by a key."""
    made = new_entry(by, entry.seq, entry.prev, "key-rotated", plain(rotation))
    return RotationEntry.of(made)


def test_a_rotation_lacks_neither_signature(small, old, new, tmp_path):
    entry = rotate(small, old, new)
    check_rotations([entry], where="card")
    stranger = Keys(tmp_path / "stranger")
    said = entry.rotation
    by_stranger = KeyRotation(
        site=said.site, ledger=said.ledger, old=said.old, new=stranger.public
    ).countersigned(stranger.signing, seq=entry.seq, prev=entry.prev)
    not_taken_over = KeyRotation(
        site=said.site, ledger=said.ledger, old=said.old, new=stranger.public
    ).countersigned(new.signing, seq=entry.seq, prev=entry.prev)
    for bad in (
        forged(entry, signature="00" * 64),
        resigned(entry, by_stranger, stranger.signing),  # without the old key
        resigned(entry, by_stranger, new.signing),
        resigned(entry, not_taken_over, old.signing),  # without the new one
        forged(entry, seq=entry.seq + 1),
        forged(entry, prev="ab" * 32),
    ):
        with pytest.raises(VerificationError):
            check_rotations([bad], where="card")


def test_a_chain_refuses_an_entry_without_the_countersignature_or_of_another_ledger(
    small, old, new, tmp_path
):
    entries = list(read_ledger(small.path).entries)
    last, first = entries[-1], entries[0]
    good = KeyRotation(site="seattle", ledger=first.hash, old=old.public, new=new.public)

    def chained(rotation: KeyRotation, by: PrivateKey = old.signing) -> list[Entry]:
        entry = new_entry(by, last.seq + 1, last.hash, "key-rotated", plain(rotation))
        following = new_entry(new.signing, entry.seq + 1, entry.hash, "pause", {})
        return [*entries, entry, following]

    place = {"seq": last.seq + 1, "prev": last.hash}
    signed = good.countersigned(new.signing, **place)
    assert verify_chain(chained(signed), old.public.key) == new.public.key
    replay(chained(signed))
    other = KeyRotation(site="seattle", ledger="ab" * 32, old=old.public, new=new.public)
    for rotation, by in (
        (signed, new.signing),  # without the old key's signature
        (good.countersigned(old.signing, **place), old.signing),  # without the new key's
        (good.countersigned(new.signing, seq=9, prev=last.hash), old.signing),
        (other.countersigned(new.signing, **place), old.signing),  # of another ledger
    ):
        with pytest.raises(LedgerError, match=f"entry {last.seq + 1}"):
            verify_chain(chained(rotation, by), old.public.key)


def test_an_entry_spliced_from_another_ledger_of_the_same_key_is_refused(small, old, new, tmp_path):
    """A second home with a copy of the key makes a true rotation; it serves in its ledger alone."""
    copied = tmp_path / "copied"
    with Ledger.create(
        copied, private_key=old.signing, site="seattle", epsilon_limit=3.0, delta_limit=1e-5
    ) as ledger:
        for _ in range(len(read_ledger(small.path).entries) - 1):
            ledger.pause() if not ledger.is_paused else ledger.resume()
        ledger.rotate(old.public, new.public, new.signing)
    spliced = read_ledger(copied).entries[-1]
    entries = list(read_ledger(small.path).entries)
    assert spliced.seq == len(entries)
    with pytest.raises(LedgerError, match="does not follow"):
        verify_chain([*entries, spliced], old.public.key)
    body = spliced.read()
    moved = new_entry(old.signing, len(entries), entries[-1].hash, body.kind, body.data)
    with pytest.raises(LedgerError, match="another ledger"):
        verify_chain([*entries, moved], old.public.key)


def test_rotations_of_two_ledgers_make_no_chain(small, old, new, tmp_path):
    first = rotate(small, old, new)
    third = Keys(tmp_path / "third")
    with small.open() as ledger:
        second = ledger.rotate(new.public, third.public, third.signing)
    check_rotations([first, second], where="card")
    assert follows([first, second], key=old.public.key, exchange_key=old.public.exchange_key)
    assert follows([first, second], key=new.public.key, exchange_key=new.public.exchange_key)
    assert not follows(
        [first, second], key=third.public.key, exchange_key=third.public.exchange_key
    )
    assert not follows([first], key=new.public.key, exchange_key=new.public.exchange_key)
    for bad in ([second, first], [second, second]):
        with pytest.raises(VerificationError):
            check_rotations(bad, where="card")
    other = tmp_path / "other"
    with Ledger.create(
        other, private_key=new.signing, site="seattle", epsilon_limit=3.0, delta_limit=1e-5
    ) as ledger:
        for _ in range(second.seq):
            ledger.pause() if not ledger.is_paused else ledger.resume()
        elsewhere = ledger.rotate(new.public, third.public, third.signing)
    with pytest.raises(VerificationError):
        check_rotations([first, elsewhere], where="card")


def test_the_entry_by_itself_has_the_ledgers_hash(small, old, new):
    entry = rotate(small, old, new)
    kept = read_ledger(small.path).entries[entry.seq]
    body_sha256 = sha256_hex(canonical_json(plain(entry.body)))
    links = {"seq": entry.seq, "prev": entry.prev, "body_sha256": body_sha256}
    assert (body_sha256, digest(links)) == (kept.body_sha256, kept.hash)
