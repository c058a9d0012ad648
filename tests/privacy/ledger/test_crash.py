"""Kill -9 at the worst moments: nothing is spent twice and nothing is forgotten."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fedloom.common.errors import LedgerError
from fedloom.privacy.ledger import read_ledger

if TYPE_CHECKING:
    from tests.privacy.ledger.conftest import SmallHome

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = """
import os, signal, sys
from pathlib import Path
from fedloom.privacy.events import gaussian, repeat
from fedloom.privacy.keys import load_private_key
from fedloom.privacy.ledger import Ledger, journal
from tests.given import given

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

home, moment = Path(sys.argv[1]), sys.argv[2]
ledger = Ledger.open(home, load_private_key(home / "key.pem"), interval=1e-3)
key = {"plan": "plan-a", "run": "run-1", "round": 1, "attempt": 1}
ledger.reserve(plan="plan-a", run="run-1", event=repeat(gaussian(8.0), 3))
ledger.open_attempt(**key, query="statistic", roster=["s"], request_digest="d", event=gaussian(8.0))
if moment == "opened":
    die()
if moment == "before commit":
    journal.stage_head = die
if moment == "before head":
    journal.publish_head = die
ledger.commit(**key, arrays=given(b"answer" * 5000))
die()
"""


def kill_at(home: SmallHome, moment: str) -> None:
    command = [sys.executable, "-c", PROGRAM, str(home.path), moment]
    assert subprocess.run(command, cwd=ROOT).returncode == -signal.SIGKILL


def head_seq(home: SmallHome) -> int:
    return int(json.loads((home.path / "ledger.head").read_bytes())["seq"])


@pytest.mark.parametrize(
    ("moment", "answered"),
    [("opened", False), ("before commit", False), ("before head", True), ("committed", True)],
)
def test_after_a_kill_the_ledger_opens_and_the_attempt_is_charged_once(
    small: SmallHome, moment: str, answered: bool
) -> None:
    kill_at(small, moment)
    assert (small.path / "ledger.db-wal").exists()
    before = {path.name: path.read_bytes() for path in small.path.iterdir()}
    assert (read_ledger(small.path).budget(interval=1e-3)["epsilon_spent"] > 0) is answered
    assert {path.name: path.read_bytes() for path in small.path.iterdir()} == before

    with small.open() as ledger:
        assert head_seq(small) == ledger.head[0]
        stored = ledger.stored_answer(**small.key_of(1), request_digest="d")
        assert (stored is not None) is answered
        assert stored is None or stored["sum"].tobytes() == b"answer" * 5000
        small.reserve(ledger)
        if not answered:
            small.answer(ledger, 1)
        small.answer(ledger, 2)
        small.answer(ledger, 3)
        spent = ledger.budget()
        assert spent["epsilon_spent"] == spent["epsilon_reserved"]
    read_ledger(small.path).verify(1e-3)


def test_a_log_that_was_lost_after_a_kill_is_a_cut_tail(small: SmallHome) -> None:
    kill_at(small, "committed")
    (small.path / "ledger.db-wal").unlink()
    (small.path / "ledger.db-shm").unlink()
    with pytest.raises(LedgerError, match="tail is cut"):
        read_ledger(small.path)
    with pytest.raises(LedgerError, match="tail is cut"):
        small.open()


def test_a_log_with_a_changed_byte_is_a_cut_tail(small: SmallHome) -> None:
    kill_at(small, "committed")
    log = small.path / "ledger.db-wal"
    damaged = bytearray(log.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    log.write_bytes(damaged)
    with pytest.raises(LedgerError):
        read_ledger(small.path)
    with pytest.raises(LedgerError):
        small.open()
