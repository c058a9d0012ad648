"""What the coordinator's audit log says of what it asked and got."""

from __future__ import annotations

import contextlib

import pytest

from fedloom.client.vault import Vault
from fedloom.common.audit_entries import Asked, Exchanged, Message
from fedloom.common.audit_log import AuditLog
from fedloom.common.errors import DiskFullError
from fedloom.common.study import load_study
from fedloom.privacy.keys import fingerprint
from fedloom.server.coordinate import coordinate
from fedloom.simulation import prepare
from tests.federation import make

SITES = ("east", "north", "south")


class Link:
    """Calls the vaults; `change` may put another reply in the place of one."""

    def __init__(self, vaults, change=lambda site, number, reply: reply):
        self.vaults, self.change, self.asked = vaults, change, 0

    def ask(self, requests, timeout_s, progress=None):
        self.asked += 1
        return {
            site: self.change(site, self.asked, self.vaults[site].handle(data))
            for site, data in requests.items()
        }


@pytest.fixture
def run(tmp_path):
    federation = make(tmp_path / "study", sites=SITES)
    study, schema = load_study(federation.study)
    tables = {name: federation.data(name) for name in SITES}
    return prepare(study, schema, tables, out=tmp_path / "run", homes={})


@pytest.fixture
def vaults(run):
    with contextlib.ExitStack() as stack:
        yield {name: stack.enter_context(Vault.open(run.path / "sites" / name)) for name in SITES}


def entries(folder, kind):
    return [line.entry for line in AuditLog(folder).lines() if isinstance(line.entry, kind)]


def test_each_message_and_answer_has_a_line(run, vaults, tmp_path):
    coordinate(run.path, Link(vaults), audit=AuditLog(tmp_path))
    asked, ended = entries(tmp_path, Asked), entries(tmp_path, Exchanged)
    assert [(a.query, a.round) for a in asked] == [(e.query, e.round) for e in ended]
    assert {one.query for one in asked} == {"prepare", "statistic", "finish"}
    assert all(one.answered == len(SITES) and one.seconds >= 0 for one in ended)
    keys = {site.name: fingerprint(site.key) for site in run.plan().sites}
    messages = entries(tmp_path, Message)
    assert len(messages) == len(asked) * len(SITES)
    assert all(one.sender == keys[one.site] and one.outcome == "ok" for one in messages)


def test_silence_and_what_is_not_accepted_are_told_apart(run, vaults, tmp_path):
    def change(site, number, reply):
        return {"east": b"", "south": b"damaged"}.get(site, reply)

    with contextlib.suppress(Exception):
        coordinate(run.path, Link(vaults, change), audit=AuditLog(tmp_path))
    outcomes = {(one.site, one.outcome, one.sender is None) for one in entries(tmp_path, Message)}
    assert outcomes == {
        ("east", "silence", True),
        ("south", "rejected", True),
        ("north", "ok", False),
    }


def test_nothing_is_asked_that_could_not_be_noted(run, vaults, tmp_path, monkeypatch):
    link = Link(vaults)

    def full(self, *lines):
        raise DiskFullError("no room")

    monkeypatch.setattr(AuditLog, "append", full)
    with pytest.raises(DiskFullError):
        coordinate(run.path, link, audit=AuditLog(tmp_path))
    assert link.asked == 0


def test_an_answer_that_could_not_be_noted_is_not_used_and_the_run_goes_on_later(
    run, vaults, tmp_path, monkeypatch
):
    append, link = AuditLog.append, Link(vaults)

    def full(self, *lines):
        if any(isinstance(line, Exchanged) and line.query == "statistic" for line in lines):
            raise DiskFullError("no room")
        return append(self, *lines)

    monkeypatch.setattr(AuditLog, "append", full)
    with pytest.raises(DiskFullError):
        coordinate(run.path, link, audit=AuditLog(tmp_path))
    assert run.metrics() == []
    monkeypatch.undo()
    coordinate(run.path, link, audit=AuditLog(tmp_path))
    assert run.done()


def test_a_run_without_a_log_writes_none(run, vaults, tmp_path):
    coordinate(run.path, Link(vaults))
    assert list(run.path.rglob("audit*")) == []
