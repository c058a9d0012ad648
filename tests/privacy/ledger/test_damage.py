"""Damage: a byte changed, a tail cut, an older copy, a rule broken. All are found, exit code 4."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
from typing import TYPE_CHECKING

import pytest

from fedloom.common.errors import ConfigError, LedgerError
from fedloom.privacy.events import event_to_json, gaussian, repeat
from fedloom.privacy.ledger import read_ledger
from fedloom.privacy.ledger.chain import verify_chain
from fedloom.privacy.ledger.entries import Entry, new_entry
from fedloom.privacy.ledger.head import Head, publish_head, stage_head
from fedloom.privacy.ledger.state import replay

if TYPE_CHECKING:
    from tests.privacy.ledger.conftest import SmallHome


@pytest.fixture
def used(small: SmallHome) -> SmallHome:
    """A closed home with one answer out of three."""
    with small.open() as ledger:
        small.reserve(ledger)
        small.answer(ledger, 1, answer=b"answer" * 1000)
    return small


def assert_damaged(home: SmallHome, match: str = "restore") -> None:
    for read in (lambda: read_ledger(home.path), home.open):
        with pytest.raises(LedgerError, match=match) as caught:
            read()
        assert caught.value.exit_code == 4


def unseal(home: SmallHome) -> None:
    """Leaves the home as after a crash, when only chain and head protect it."""
    head = json.loads((home.path / "ledger.head").read_bytes())
    stage_head(home.path, Head(seq=head["seq"], hash=head["hash"], sealed=None))
    publish_head(home.path)


def edit(home: SmallHome, *statements: str) -> None:
    connection = sqlite3.connect(home.path / "ledger.db")
    query = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
    triggers = connection.execute(query).fetchall()
    for name, _ in triggers:
        connection.execute(f"DROP TRIGGER {name}")
    for statement in statements:
        connection.execute(statement)
    for _, sql in triggers:
        connection.execute(sql)
    connection.commit()
    connection.close()


def test_one_byte_changed_anywhere_in_a_closed_ledger_is_found(used: SmallHome) -> None:
    path = used.path / "ledger.db"
    whole = path.read_bytes()
    offsets = random.Random(20261122).sample(range(len(whole)), 40)
    for offset in [*offsets, 0, 18, 24, len(whole) - 1]:
        damaged = bytearray(whole)
        damaged[offset] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(LedgerError, match="changed after it was closed"):
            read_ledger(used.path)
        with pytest.raises(LedgerError, match="changed after it was closed"):
            used.open()
    path.write_bytes(whole)
    used.open().close()


def test_one_byte_changed_in_an_unsealed_ledger_changes_no_meaning(used: SmallHome) -> None:
    """Bytes that SQLite does not use may change unseen; what the ledger says may not."""
    unseal(used)
    path = used.path / "ledger.db"
    whole, truth = path.read_bytes(), read_ledger(used.path)
    used_bytes = [i for i in range(len(whole)) if whole[i]]
    found = 0
    for offset in random.Random(7).sample(used_bytes, 60):
        damaged = bytearray(whole)
        damaged[offset] ^= 0x10
        path.write_bytes(damaged)
        try:
            assert read_ledger(used.path).entries == truth.entries
        except LedgerError:
            found += 1
    assert found >= 45


def test_a_byte_changed_in_the_head_is_found(used: SmallHome) -> None:
    path = used.path / "ledger.head"
    whole = path.read_bytes()
    for offset in range(0, len(whole), 5):
        damaged = bytearray(whole)
        damaged[offset] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(LedgerError):
            read_ledger(used.path)
    path.unlink()
    assert_damaged(used, "missing or damaged")


@pytest.mark.parametrize("sealed", [True, False])
def test_a_cut_tail_is_found(used: SmallHome, sealed: bool) -> None:
    if not sealed:
        unseal(used)
    edit(used, "DELETE FROM entries WHERE seq = (SELECT max(seq) FROM entries)")
    assert_damaged(used, "changed after" if sealed else "tail is cut")


@pytest.mark.parametrize("sealed", [True, False])
def test_an_older_copy_beside_a_newer_head_is_found(used: SmallHome, sealed: bool) -> None:
    shutil.copy(used.path / "ledger.db", used.path / "older.db")
    with used.open() as ledger:
        used.answer(ledger, 2)
    if not sealed:
        unseal(used)
    shutil.copy(used.path / "older.db", used.path / "ledger.db")
    assert_damaged(used, "another copy" if sealed else "older copy")


def test_a_missing_ledger_is_found(used: SmallHome) -> None:
    (used.path / "ledger.db").unlink()
    assert_damaged(used, "is missing")
    with pytest.raises(ConfigError, match="no ledger in"):
        read_ledger(used.path / "elsewhere")


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE entries SET body = replace(body, 'seattle', 'tacoma.') WHERE seq = 0", "bytes"),
        ("UPDATE entries SET signature = '00' WHERE seq = 3", "entry 3 is not signed"),
        ("UPDATE entries SET prev_hash = 'x' WHERE seq = 2", "entry 2 does not follow"),
        ("DELETE FROM entries WHERE seq = 1", "entry 1 is missing"),
        ("DELETE FROM answers", "committed and is not stored"),
        ("UPDATE answers SET answer = x'00'", "a stored answer is damaged"),
        (
            "UPDATE answers SET answer = CAST(substr(answer, 1, length(answer) - 1) || x'78' "
            "AS BLOB)",
            "not the one that was committed",
        ),
        ("UPDATE answers SET request_digest = 'other'", "not the one that was committed"),
        ("UPDATE answers SET round = 2", "not the one that was committed"),
        ("CREATE TABLE more (x)", "tables"),
        ("PRAGMA application_id = 1", "tables"),
    ],
)
def test_edits_are_named(used: SmallHome, statement: str, said: str) -> None:
    unseal(used)
    edit(used, statement)
    assert_damaged(used, said)


def test_the_triggers_stop_edits_by_mistake(used: SmallHome) -> None:
    connection = sqlite3.connect(used.path / "ledger.db")
    for statement in ("DELETE FROM entries", "UPDATE entries SET signature = ''"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute(statement)
    connection.close()


def test_a_file_that_is_no_database_is_found(used: SmallHome) -> None:
    unseal(used)
    (used.path / "ledger.db").write_bytes(b"not a database" * 1000)
    assert_damaged(used, "cannot be read as a ledger")


def chain_with(home: SmallHome, kind: str, data: dict[str, object]) -> list[Entry]:
    entries = list(read_ledger(home.path).entries)
    entries.append(new_entry(home.key, len(entries), entries[-1].hash, kind, data))
    verify_chain(entries, read_ledger(home.path).public_key)
    return entries


ATTEMPT = {"plan": "plan-a", "run": "run-1", "round": 2, "attempt": 1}
OPEN = {
    **ATTEMPT,
    "query": "q",
    "roster": ["seattle"],
    "void": [],
    "request_digest": "d",
    "event": event_to_json(gaussian(8.0)),
}


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("commit", {**ATTEMPT, "request_digest": "d", "answer_digest": "0" * 64}),
        ("open", {**OPEN, "event": event_to_json(repeat(gaussian(8.0), 3))}),
        ("reserve", {"plan": "plan-b", "run": "r", "event": event_to_json(gaussian(1.0))}),
        ("finish", {"plan": "plan-b", "run": "r", "entries": []}),
        ("finish", {"plan": "plan-a", "run": "run-1", "entries": [1, 2, 3]}),
        ("finish", {"plan": "plan-a", "run": "run-1", "entries": [True]}),
        ("finish", {"plan": "plan-a", "run": "run-1"}),
        ("forgive", {}),
        ("pause", {"why": "lunch"}),
        ("open", {**OPEN, "event": {}}),
        ("open", {**OPEN, "attempt": 0}),
        ("open", {**OPEN, "attempt": 2}),
        ("open", {**OPEN, "attempt": 2, "void": [["seattle", "portland"]]}),
        ("open", {**OPEN, "void": [["seattle"]]}),
        ("open", {name: value for name, value in OPEN.items() if name != "roster"}),
        ("open", {**OPEN, "roster": []}),
        ("open", {**OPEN, "roster": ["seattle", "portland"]}),
        ("open", {**OPEN, "roster": ["seattle", "seattle"]}),
        ("revoke", {"plan": ""}),
    ],
)
def test_entries_that_the_site_signed_but_no_rule_allows_are_found(
    used: SmallHome, kind: str, data: dict[str, object]
) -> None:
    with pytest.raises(LedgerError, match=f"entry 5.*{kind}"):
        replay(chain_with(used, kind, data))
