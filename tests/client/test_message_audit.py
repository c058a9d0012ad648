"""What a site's audit log says of messages, and that no answer leaves without it."""

from __future__ import annotations

import dataclasses

import pytest

from fedloom.client.message_audit import MessageAudit
from fedloom.client.vault import Vault
from fedloom.common.audit_entries import Message, MoreMessages
from fedloom.common.audit_log import AuditLog
from fedloom.common.errors import DiskFullError
from fedloom.privacy.keys import fingerprint, generate_key, public_key_hex
from tests.federation import (
    COORDINATOR,
    approve_at,
    ask,
    make_home,
    make_plan,
    request,
    signed,
    table,
)


@pytest.fixture
def approved(tmp_path):
    homes = {name: make_home(tmp_path / name, name) for name in ("north", "south")}
    plan = make_plan(tmp_path / "study", homes)
    approve_at(homes["north"], plan, table(50))
    return homes["north"], plan


def messages(home):
    return [line.entry for line in AuditLog(home.path).lines()]


def test_every_message_of_a_run_has_a_line_with_run_round_sender_and_outcome(approved):
    home, plan = approved
    audit = MessageAudit(AuditLog(home.path))
    with Vault(home, note=audit) as vault:
        assert ask(vault, request(plan)).ok
        assert ask(vault, request(plan, "statistic", 1)).ok
        assert ask(vault, request(plan, "statistic", 1)).header.stored
        ask(vault, request(plan, "statistic", 1, params={}))
        assert ask(vault, request(plan, "finish")).ok
    lines = [(one.query, one.round, one.outcome, one.stored) for one in messages(home)]
    assert lines == [
        ("prepare", 0, "ok", False),
        ("statistic", 1, "stale", False),  # it promised nothing yet
        ("prepare", 0, "ok", False),
        ("statistic", 1, "ok", False),
        ("statistic", 1, "ok", True),
        ("statistic", 1, "outside-plan", False),
        ("finish", 0, "ok", False),
    ]
    assert {one.sender for one in messages(home)} == {fingerprint(public_key_hex(COORDINATOR))}


def test_a_strangers_message_has_no_name_that_it_chose(approved, tmp_path):
    home, plan = approved
    stranger = generate_key(tmp_path / "stranger.key")
    with Vault(home, note=MessageAudit(AuditLog(home.path))) as vault:
        vault.handle(signed(request(plan, run="forged"), stranger))
        vault.handle(b"no message")
    assert messages(home) == [Message(outcome="unsigned"), Message(outcome="malformed")]


def test_an_answer_that_cannot_be_noted_does_not_leave(approved):
    home, plan = approved

    def full(handled):
        raise DiskFullError("no room")

    with Vault(home, note=full) as vault:
        assert vault.handle(signed(request(plan))) == b""
    with Vault(home) as vault:
        assert ask(vault, request(plan)).ok


def test_a_vault_that_notes_after_its_answer_left_would_be_caught(approved):
    """The twin: a vault whose answer does not wait for the note gives it without one."""
    home, plan = approved

    class Careless(Vault):
        def handle(self, data):
            answer, handled = self._handle(data)
            with pytest.raises(DiskFullError):
                self._note(handled)
            return answer

    def full(handled):
        raise DiskFullError("no room")

    with Careless(home, note=full) as vault:
        assert vault.handle(signed(request(plan))) != b""


@pytest.mark.parametrize("known", [False, True])
def test_a_flood_has_a_bounded_number_of_lines_and_is_counted(approved, tmp_path, known):
    home, plan = approved
    now = [0.0]
    audit = MessageAudit(AuditLog(home.path), clock=lambda: now[0])
    stranger = generate_key(tmp_path / "stranger.key")
    data = signed(request(plan), COORDINATOR if known else stranger)
    with Vault(home, note=audit) as vault:
        for _ in range(700):
            vault.handle(data)
        size = AuditLog(home.path).path.stat().st_size
        for _ in range(200):
            vault.handle(data)
        assert AuditLog(home.path).path.stat().st_size == size
        now[0] += 7200.0
        vault.handle(data)
        audit.close()
    entries = messages(home)
    counted = sum(sum(e.outcomes.values()) for e in entries if isinstance(e, MoreMessages))
    lines = [entry for entry in entries if isinstance(entry, Message)]
    assert len(lines) == (501 if known else 61) and counted + len(lines) == 901


def test_a_round_that_is_answered_for_the_first_time_always_has_a_line(approved):
    home, plan = approved
    audit = MessageAudit(AuditLog(home.path), clock=lambda: 0.0)
    with Vault(home, note=audit) as vault:
        for _ in range(501):
            vault.handle(signed(request(plan)))
        assert ask(vault, request(plan, "statistic", 1)).ok
    last = messages(home)[-1]
    assert isinstance(last, Message) and (last.query, last.outcome) == ("statistic", "ok")


def test_lines_hold_nothing_of_the_records(tmp_path):
    """The lines of two homes with other records differ in nothing but time and keys."""
    homes = {name: make_home(tmp_path / name, name) for name in ("north", "south")}
    plan = make_plan(tmp_path / "study", homes)
    found = []
    for name, frame in (("north", table(50)), ("south", table(90, seed=5))):
        approve_at(homes[name], plan, frame)
        with Vault(homes[name], note=MessageAudit(AuditLog(homes[name].path))) as vault:
            for asked in (request(plan), request(plan, "statistic", 1), request(plan, "finish")):
                vault.handle(signed(dataclasses.replace(asked, heads={})))
        found.append(messages(homes[name]))
    assert found[0] == found[1]
