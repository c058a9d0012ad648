"""`site audit-log` and `coordinator audit-log`, and which commands they hold."""

from __future__ import annotations

import errno
import json
import os

import pytest

from fedloom.cli.command_audit import CommandAudit
from fedloom.common.audit_entries import Began, Ended, Message
from fedloom.common.audit_log import AuditLog
from tests.federation import cli, make, table


@pytest.fixture
def home(tmp_path):
    data = tmp_path / "records.csv"
    table(20).to_csv(data, index=False)
    made = tmp_path / "north"
    words = ("--name", "north", "--epsilon", 8, "--delta", "1e-3", "--data", data)
    assert cli("site", "init", "--home", made, *words).code == 0
    return made


def shown(home, *more):
    done = cli("site", "audit-log", home, "--json", *more)
    assert done.code == 0, done.err
    *lines, last = (json.loads(line) for line in done.out.splitlines())
    return lines, last["head"]


def test_commands_that_change_something_are_noted_with_their_exit_codes(home):
    assert cli("site", "pause", "--home", home).code == 0
    assert cli("site", "revoke", "no-such.toml", "--home", home).code == 2
    lines, _ = shown(home)
    assert [line["kind"] for line in lines] == ["end", "command", "end", "command", "end"]
    assert [line.get("exit_code") for line in lines] == [0, None, 0, None, 2]
    assert lines[0]["words"][:2] == ["site", "init"]  # the home was not there when it began
    assert lines[1]["words"][:2] == ["site", "pause"] and lines[2]["command"] == lines[1]["seq"]


def test_commands_that_only_read_are_not_noted(home):
    before = AuditLog(home).head()
    for words in (("site", "status", "--home", home), ("site", "audit-log", home)):
        cli(*words)
    assert cli("site", "preflight", "--home", home).code in (0, 5)
    assert AuditLog(home).head() == before


def test_passwords_in_urls_and_queries_are_not_noted(tmp_path):
    made = tmp_path / "north"
    url = "postgresql+pg8000://steward:hunter2@db/records"
    words = ("--url", url, "--query", "select * from patients where name = 'Doe'")
    limits = ("--epsilon", 8, "--delta", "1e-3")
    assert cli("site", "init", "--home", made, "--name", "north", *limits, *words).code == 0
    text = AuditLog(made).path.read_text()
    assert "hunter2" not in text and "Doe" not in text and "init" in text


def test_a_command_that_cannot_be_noted_does_nothing(home, monkeypatch):
    def full(descriptor, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    done = cli("site", "pause", "--home", home)
    monkeypatch.undo()
    assert done.code == 5
    assert not (home / "paused").exists()


@pytest.mark.parametrize("word", ["x" * 5000, "\x01" * 1000, "\U0001f600" * 1000, "\udcff", ""])
def test_however_many_words_a_command_has_its_line_can_be_read_back(tmp_path, monkeypatch, word):
    (tmp_path / "key.pem").touch()
    monkeypatch.setenv("SUDO_USER", "s" * 100_000)
    audit = CommandAudit([word] * 70_000)
    audit.begin(tmp_path)
    audit.end(0)
    began, ended = AuditLog(tmp_path).lines()
    assert isinstance(began.entry, Began) and began.entry.words[-1].endswith(" more)")
    assert len(AuditLog(tmp_path).path.read_bytes()) < 80_000 and ended.seq == 2


def test_after_its_damaged_log_was_moved_aside_a_command_works_again(home):
    path = AuditLog(home).path
    path.write_bytes(path.read_bytes()[:-10] + b"\n")
    refused = cli("site", "pause", "--home", home)
    assert refused.code == 4 and f"{path}.damaged" in refused.err
    assert not (home / "paused").exists()
    path.rename(f"{path}.damaged")
    assert cli("site", "pause", "--home", home).code == 0
    assert (home / "paused").exists() and cli("site", "audit-log", home).code == 0


def test_a_broken_chain_ends_with_4(home):
    cli("site", "pause", "--home", home)
    assert cli("site", "audit-log", home).code == 0
    path = AuditLog(home).path
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:1] + lines[2:]))
    assert cli("site", "audit-log", home).code == 4


def test_a_head_that_was_kept_elsewhere_finds_a_log_that_was_cut_or_written_anew(home):
    cli("site", "pause", "--home", home)
    _, head = shown(home)
    assert cli("site", "audit-log", home, "--known", head).code == 0
    path = AuditLog(home).path
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    assert cli("site", "audit-log", home).code == 0
    assert cli("site", "audit-log", home, "--known", head).code == 4


def test_lines_are_filtered_by_time_and_run(home):
    cli("site", "pause", "--home", home)
    lines, _ = shown(home)
    assert shown(home, "--since", "2999-01-01")[0] == []
    assert shown(home, "--since", lines[1]["time"])[0] == lines[1:]
    assert shown(home, "--run", "00ff")[0] == []
    assert cli("site", "audit-log", home, "--since", "yesterday").code == 2
    assert cli("site", "audit-log", home, "--known", "7").code == 2


def test_a_folder_without_a_log_is_said_to_have_none(tmp_path):
    assert cli("site", "audit-log", tmp_path).code == 2


def test_a_coordinators_commands_are_noted(tmp_path):
    made = tmp_path / "fed"
    assert cli("coordinator", "init", made, "--host", "localhost").code == 0
    assert cli("coordinator", "renew", "--coordinator", made).code == 0
    done = cli("coordinator", "audit-log", made)
    assert done.code == 0 and "coordinator renew" in done.out


def test_a_simulation_is_noted_in_a_home_elsewhere_with_its_messages_and_so_is_its_release(
    tmp_path,
):
    federation, home, run = make(tmp_path / "study"), tmp_path / "south", tmp_path / "one"
    words = ("--home", f"south={home}")
    assert federation.simulate(run, *words).code == 0
    entries = [line.entry for line in AuditLog(home).lines()]
    messages = [(e.query, e.outcome) for e in entries if isinstance(e, Message)]
    assert messages[0] == ("prepare", "ok") and messages[-1] == ("finish", "ok")
    assert isinstance(entries[-1], Ended) and entries[-1].words[0] == "simulate"
    assert not (run / "sites" / "north" / "audit.jsonl").exists()  # a rehearsal's own home
    code = federation.simulate(run, "--resume", sites=False).code
    *_, began, ended = (line.entry for line in AuditLog(home).lines())
    assert code == 0 and isinstance(began, Began) and isinstance(ended, Ended)
    coordinator = tmp_path / "fed"
    assert cli("coordinator", "init", coordinator, "--host", "localhost").code == 0
    state = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**state, "coordinator": str(coordinator)}))
    assert cli("release", "build", run, "--out", tmp_path / "release").code == 0
    *_, began, ended = (line.entry for line in AuditLog(coordinator).lines())
    assert began.words[:2] == ("release", "build") and ended.exit_code == 0


def test_a_program_that_ends_by_leaving_the_interpreter_is_noted_too(home, monkeypatch):
    def leave(options):
        raise SystemExit(7)

    monkeypatch.setattr("fedloom.client.node.run_node", leave)
    with pytest.raises(SystemExit):
        cli("site", "node", "--home", home, "--superlink", "127.0.0.1:9", "--insecure")
    lines, _ = shown(home)
    assert lines[-1]["kind"] == "end" and lines[-1]["exit_code"] == 7
