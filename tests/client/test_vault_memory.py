"""What a vault keeps in memory: promises, and how far its ledger had come."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fedloom.client.vault_memory import VaultMemory, memory_folder
from fedloom.common.errors import HomeInUseError
from fedloom.privacy.keys import verify
from fedloom.privacy.ledger import Ledger
from tests.federation import RUN, make_home

PLAN = "a" * 64


@pytest.fixture
def folder(tmp_path) -> Path:
    path = tmp_path / "memory"
    path.mkdir(mode=0o700)
    return path


@pytest.fixture
def home(tmp_path):
    return make_home(tmp_path / "north")


def opened(home, folder) -> tuple[Ledger, VaultMemory]:
    key = home.private_key()
    ledger = Ledger.open(home.path, key)
    return ledger, VaultMemory(ledger, key, home.path, folder)


def closed(*parts) -> None:
    for part in reversed(parts):
        part.close()


def test_a_promise_stays_the_same_until_it_is_used(home, folder):
    ledger, memory = opened(home, folder)
    memory.begin(PLAN, RUN)
    first = memory.promise(PLAN, RUN)
    assert memory.promise(PLAN, RUN) == first and memory.holds(PLAN, RUN, first.nonce)
    assert verify(home.public_key(), first.signed_bytes(PLAN, RUN), first.signature)
    assert not verify(home.public_key(), first.signed_bytes(PLAN, "another"), first.signature)
    memory.used(PLAN, RUN)
    assert not memory.holds(PLAN, RUN, first.nonce)
    assert memory.promise(PLAN, RUN).nonce != first.nonce and memory.whole(PLAN, RUN)
    closed(ledger, memory)


@pytest.mark.parametrize("kept", [True, False])
def test_only_a_memory_that_outlives_the_process_holds_what_was_promised(home, folder, kept):
    ledger, memory = opened(home, folder if kept else None)
    memory.begin(PLAN, RUN)
    nonce = memory.promise(PLAN, RUN).nonce
    memory.keep()
    closed(ledger, memory)
    ledger, memory = opened(home, folder)
    assert memory.holds(PLAN, RUN, nonce) == memory.whole(PLAN, RUN) == kept
    assert memory.promise(PLAN, RUN).nonce != nonce or kept
    assert memory.turned_back is None
    closed(ledger, memory)


def test_a_ledger_that_does_not_go_on_from_the_last_answer_is_found(home, folder):
    image = (home.ledger_path.read_bytes(), home.head_path.read_bytes())
    ledger, memory = opened(home, folder)
    ledger.pause()
    memory.keep()
    seq = ledger.head[0]
    closed(ledger, memory)
    home.ledger_path.write_bytes(image[0])
    home.head_path.write_bytes(image[1])
    for _ in range(2):  # also at the next start
        ledger, memory = opened(home, folder)
        assert memory.turned_back is not None and memory.turned_back.seq == seq
        closed(ledger, memory)


def test_a_ledger_that_grew_without_its_vault_is_no_other(home, folder):
    ledger, memory = opened(home, folder)
    memory.keep()
    closed(ledger, memory)
    with Ledger.open(home.path, home.private_key()) as alone:
        alone.pause()
    ledger, memory = opened(home, folder)
    assert memory.turned_back is None
    closed(ledger, memory)


def test_two_vaults_do_not_share_one_memory(home, folder):
    ledger, memory = opened(home, folder)
    with pytest.raises(HomeInUseError):
        VaultMemory(ledger, home.private_key(), home.path, folder)
    closed(ledger, memory)


def test_a_damaged_file_is_as_good_as_none(home, folder):
    ledger, memory = opened(home, folder)
    memory.begin(PLAN, RUN)
    memory.promise(PLAN, RUN)
    memory.keep()
    closed(ledger, memory)
    next(folder.glob("*.json")).write_bytes(b"{")
    ledger, memory = opened(home, folder)
    assert not memory.whole(PLAN, RUN) and memory.turned_back is None
    closed(ledger, memory)


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="no /dev/shm here")
def test_a_folder_on_a_disk_or_that_others_enter_is_not_used(monkeypatch, tmp_path):
    own = memory_folder()
    assert own is not None and own.stat().st_mode & 0o077 == 0
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))  # of a disk
    found = memory_folder()
    assert found is None or found.parent != tmp_path
