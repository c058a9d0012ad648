"""New keys for a home: interrupted anywhere, it has the old ones or the new ones, and works."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

import fedloom.client.home as home_module
from fedloom.client.backup import unpack, write_backup
from fedloom.client.decisions import decided_ledger
from fedloom.client.home import Home
from fedloom.client.key_files import EXCHANGE, KEY, NODE, staged
from fedloom.client.restore import read_notes
from fedloom.client.rotation import public_keys, rotate
from fedloom.client.vault import Vault
from fedloom.common.errors import FedloomError, HomeInUseError, RefusedError
from fedloom.common.signed_heads import HeadNote, KnownHead, KnownLedger, SeenHead, SignedHead
from fedloom.privacy.ledger import SiteKeys, read_ledger
from tests.federation import approve_at, ask, make_home, make_plan, request, table

ALL = (KEY, EXCHANGE, NODE)
SYSTEM_CALLS = ("fsync", "replace", "unlink")


@pytest.fixture
def homes(tmp_path: Path) -> dict[str, Home]:
    """One home with an approved plan that was not run yet."""
    found = {name: make_home(tmp_path / name, name) for name in ("north", "south")}
    approve_at(found["north"], make_plan(tmp_path / "study", found), table(30))
    return found


def kill_at(number: int, act: Callable[[], object]) -> bool:
    """Does something in a process that dies before its so many-th change of the disk.

    Returns:
      Whether it came to its end before.
    """
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    try:
        seen = 0

        def dying(call):
            def made(*args, **kwargs):
                nonlocal seen
                seen += 1
                if seen == number:
                    os._exit(9)
                return call(*args, **kwargs)

            return made

        for name in SYSTEM_CALLS:
            setattr(os, name, dying(getattr(os, name)))
        act()
        os._exit(0)
    except BaseException:
        os._exit(1)


def images(home: Home, folder: Path) -> list[Path]:
    """The disks that a kill before each change leaves, and the last one of a change that ended."""
    found = []
    for number in range(1, 100):
        copy = folder / f"image-{number}"
        shutil.copytree(home.path, copy)
        found.append(copy)
        if kill_at(number, lambda copy=copy: rotate(Home(copy), ALL)):
            return found
    raise AssertionError("it never ended")


def works(home: Path, before: SiteKeys) -> bool:
    """Whether a home has one whole set of keys, which its ledger names, and is not stuck."""
    try:
        opened = Home.open(home)
        keys, view = public_keys(opened), read_ledger(home)
        named = view.rotations[-1].rotation.new if view.rotations else before
        with decided_ledger(opened):
            pass
        rotate(opened, ALL)
    except FedloomError:
        return False
    left = [path for path in home.iterdir() if path.name.endswith(".next")]
    return keys == named and not left and len(set(read_ledger(home).rotations)) >= 1


def test_a_change_of_keys_that_is_killed_anywhere_is_ended_or_undone(homes, tmp_path):
    before = public_keys(homes["north"])
    spent = read_ledger(homes["north"].path).budget()["epsilon_spent"]
    found = images(homes["north"], tmp_path)
    ends = set()
    for image in found:
        shutil.copytree(image, tmp_path / "look")
        ends.add(public_keys(Home.open(tmp_path / "look")) == before)
        shutil.rmtree(tmp_path / "look")
        assert works(image, before), image
        assert read_ledger(image).budget()["epsilon_spent"] == spent
    assert ends == {True, False} and len(found) > 8


def test_the_twin_that_settles_nothing_leaves_homes_that_do_not_open(homes, tmp_path, monkeypatch):
    before = public_keys(homes["north"])
    monkeypatch.setattr(home_module, "settle", lambda _: None)
    assert not all(works(image, before) for image in images(homes["north"], tmp_path))


def test_approvals_under_old_keys_end_and_their_records_are_deleted(homes):
    home = homes["north"]
    plan = next(iter(read_ledger(home.path).open_plans))
    assert home.snapshot_path(plan).exists()
    rotate(home, ALL)
    assert not home.snapshot_path(plan).exists()
    assert read_ledger(home.path).open_plans == {}


def test_a_key_that_cannot_be_made_ends_no_approval(homes, monkeypatch):
    home, before = homes["north"], public_keys(homes["north"])

    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("fedloom.client.rotation.generate_exchange_key", full)
    with pytest.raises(OSError):
        rotate(home, ALL)
    assert public_keys(home) == before
    (plan,) = read_ledger(home.path).open_plans
    assert home.snapshot_path(plan).exists()
    monkeypatch.undo()
    assert works(home.path, before)


def test_the_nodes_key_alone_leaves_approvals_as_they_are(homes):
    home, before = homes["north"], public_keys(homes["north"])
    after = rotate(home, [NODE])
    assert (after.key, after.exchange_key) == (before.key, before.exchange_key)
    assert (
        after.node_key
        != before.node_key
        == read_ledger(home.path).rotations[0].rotation.old.node_key
    )
    assert len(read_ledger(home.path).open_plans) == 1


def test_no_key_changes_while_a_vault_serves_or_a_run_is_open(homes, tmp_path):
    home, before = homes["north"], public_keys(homes["north"])
    plan = make_plan(tmp_path / "study", homes)
    with Vault(home) as vault:
        assert ask(vault, request(plan)).ok
        with pytest.raises(HomeInUseError):
            rotate(home, ALL)
    with pytest.raises(RefusedError, match="under way"):
        rotate(home, ALL)
    assert public_keys(home) == before and not staged(home.key_path).exists()
    assert read_ledger(home.path).open_plans


def test_a_backup_holds_keys_and_ledger_of_one_moment(homes, tmp_path):
    rotate(homes["north"], ALL)
    write_backup(homes["north"], tmp_path / "backup.tar")
    restored = unpack(tmp_path / "backup.tar", tmp_path / "restored")
    assert public_keys(restored) == public_keys(homes["north"])
    assert restored.public_key() == read_ledger(restored.path).public_key


def head(seq: int) -> SeenHead:
    return SeenHead(epoch=0, seq=seq, hash=f"{seq:064x}")


def test_a_restored_home_reads_what_was_seen_of_it_under_earlier_and_later_keys(tmp_path):
    """Fellow sites' notes and the coordinator's heads name the ledger by the key of their time."""
    one, two, other = "a" * 64, "b" * 64, "c" * 64
    notes = {
        one: HeadNote(head=head(3), plans={}),
        two: HeadNote(head=head(9), plans={}, former=(one,)),
        other: HeadNote(head=head(7), plans={}),
    }
    path = tmp_path / "heads.json"
    path.write_bytes(msgspec.json.encode(notes))
    for keys in ([one], [one, two]):  # a backup from before the change of keys, and one from after
        assert {note.head.seq for note in read_notes(path, keys)} == {3, 9}
    signed = SignedHead(lost=(), seq=9, hash=f"{9:064x}", nonce="0" * 32, signature="")
    known = KnownHead(plan="d" * 64, run="r", head=signed)
    path.write_bytes(msgspec.json.encode({two: KnownLedger(newest=known, links=(), former=(one,))}))
    assert [note.head for note in read_notes(path, [one])] == [head(9)]
    assert read_notes(path, [other]) == []
