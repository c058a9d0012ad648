"""A coordinator's new signing key: kits, pins and releases follow the chain, and nothing else."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

import fedloom.server.provision.coordinator_home as home_module
from fedloom.common.errors import FedloomError
from fedloom.common.typed import plain
from fedloom.privacy.handover import Handover, handovers_path, read_handovers
from fedloom.privacy.keys import generate_key, load_private_key, public_key_hex
from fedloom.privacy.kit import Kit
from fedloom.server.provision.coordinator_home import CoordinatorHome
from fedloom.server.provision.new_signing_key import rotate_signing_key
from tests.federation import Outcome, cli
from tests.stewards import init

DAY = "2026-11-28"


@pytest.fixture
def coordinator(tmp_path: Path) -> Path:
    home = tmp_path / "c"
    assert cli("coordinator", "init", home, "--host", "fed.example.org").code == 0
    return home


@pytest.fixture
def site(tmp_path: Path, coordinator: Path) -> Path:
    """A site that has joined under the coordinator's first key."""
    made, card, kit = init(tmp_path, "north"), tmp_path / "north.json", tmp_path / "kit.json"
    assert cli("site", "card", "--home", made, "--out", card).code == 0
    invited = cli("coordinator", "invite", card, "--coordinator", coordinator, "--out", kit)
    assert invited.code == 0
    told = Kit.load(kit).fingerprint()
    joined = cli("site", "join", kit, "--home", made, "--yes", "--fingerprint", told)
    assert joined.code == 0, joined.err
    return made


def rotate(coordinator: Path) -> Path:
    out = coordinator.parent / "new.kit.json"
    done = cli("coordinator", "rotate", "--coordinator", coordinator, "--out", out, "--yes")
    assert done.code == 0, done.err
    return out


def join(site: Path, kit: Path) -> Outcome:
    return cli("site", "join", kit, "--home", site, "--yes")


def test_sites_take_the_new_key_unasked_after_one_change_or_several(coordinator, site):
    first = public_key_hex(load_private_key(coordinator / "coordinator.key"))
    rotate(coordinator)
    kit = rotate(coordinator)
    assert first in Kit.load(kit).former_coordinator_keys
    assert join(site, kit).code == 0
    kept = Kit.load(site / "kit.json")
    assert kept.coordinator_key == public_key_hex(load_private_key(coordinator / "coordinator.key"))


def test_nothing_changes_where_the_kit_could_not_be_written(coordinator):
    before = (coordinator / "coordinator.key").read_bytes()
    words = ("coordinator", "rotate", "--coordinator", coordinator, "--yes", "--out")
    assert cli(*words, coordinator.parent / "missing" / "kit.json").code == 2
    assert cli(*words, coordinator.parent).code == 2
    assert (coordinator / "coordinator.key").read_bytes() == before


def test_an_older_kit_is_not_taken_unasked(coordinator, site):
    old = (site / "kit.json").read_text()
    assert join(site, rotate(coordinator)).code == 0
    older = coordinator.parent / "older.json"
    older.write_text(old)
    assert join(site, older).code == 2


def test_a_key_that_the_old_one_did_not_sign_for_is_not_taken(coordinator, site, tmp_path):
    """The twin, the true kit, is taken."""
    kit = rotate(coordinator)
    true = json.loads(kit.read_text())
    (handover,) = true["coordinator-handovers"]
    stranger, other = (generate_key(tmp_path / f"{name}.pem") for name in ("stranger", "other"))
    theirs = plain(Handover.signed(other, stranger, day=DAY))
    bad = {
        "no handover": {"coordinator-handovers": []},
        "without the old key": {"coordinator-handovers": [{**handover, "signature": "00" * 64}]},
        "without the new key": {
            "coordinator-handovers": [{**handover, "countersignature": "00" * 64}]
        },
        "a stranger's, who signs for the old key": {
            "coordinator-key": public_key_hex(stranger),
            "coordinator-handovers": [
                {**theirs, "old": handover["old"]},
            ],
        },
        "a stranger's chain": {
            "coordinator-key": public_key_hex(stranger),
            "coordinator-handovers": [theirs],
        },
        "to another key": {"coordinator-key": public_key_hex(stranger)},
    }
    before = (site / "kit.json").read_text()
    for name, changes in bad.items():
        path = tmp_path / "bad.json"
        path.write_text(json.dumps({**true, **changes}))
        assert join(site, path).code in {2, 4}, name
        assert (site / "kit.json").read_text() == before
    assert join(site, kit).code == 0


def test_after_a_theft_a_key_without_a_handover_is_compared_again(coordinator, site, tmp_path):
    """The runbook: key and handovers are deleted, another key is made, a kit is sent."""
    assert join(site, rotate(coordinator)).code == 0
    for name in ("coordinator.key", "coordinator.handovers.json"):
        (coordinator / name).unlink()
    assert cli("coordinator", "keygen", coordinator / "coordinator.key").code == 0
    card, kit = tmp_path / "north.json", tmp_path / "anew.json"
    invited = cli("coordinator", "invite", card, "--coordinator", coordinator, "--out", kit)
    assert invited.code == 0
    assert join(site, kit).code == 2
    told = Kit.load(kit).fingerprint()
    joined = cli("site", "join", kit, "--home", site, "--yes", "--fingerprint", told)
    assert joined.code == 0


def kill_at(number: int, key: Path) -> bool:
    """Changes the key in a process that dies before its so many-th change of the disk."""
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

        for name in ("fsync", "replace", "unlink"):
            setattr(os, name, dying(getattr(os, name)))
        rotate_signing_key(key)
        os._exit(0)
    except BaseException:
        os._exit(1)


def settled(home: Path, first: str) -> bool:
    """Whether a home's key is the one that its handovers lead to, and can be changed again."""
    try:
        opened = CoordinatorHome.open(home)
        known = read_handovers(handovers_path(opened.key_path))
        held = public_key_hex(opened.key())
        rotate_signing_key(opened.key_path)
    except FedloomError:
        return False
    return held == (known[-1].new if known else first)


@pytest.mark.parametrize("settles", [True, False])
def test_a_change_that_is_killed_anywhere_is_ended_or_undone(
    coordinator, tmp_path, monkeypatch, settles
):
    """The twin that settles nothing leaves a key that the handovers do not lead to."""
    if not settles:
        monkeypatch.setattr(home_module, "settle_signing_key", lambda _: None)
    first = public_key_hex(load_private_key(coordinator / "coordinator.key"))
    found = []
    for number in range(1, 50):
        copy = tmp_path / f"c-{number}"
        shutil.copytree(coordinator, copy)
        ended = kill_at(number, copy / "coordinator.key")
        found.append(settled(copy, first))
        if ended:
            break
    assert len(found) > 4 and all(found) is settles
