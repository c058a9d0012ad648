"""The chain of an audit log: lines removed, changed, cut or torn, and several writers."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fedloom.common.audit_entries import Began, Ended, Message, Repaired
from fedloom.common.audit_log import AuditLog, line_digest
from fedloom.common.errors import ConfigError, DiskFullError, VerificationError

ROOT = Path(__file__).resolve().parents[2]


def filled(folder: Path, lines: int = 6, **more) -> AuditLog:
    log = AuditLog(folder, **more)
    for number in range(lines):
        log.append(Message(outcome="ok", run=f"run {number}", round=number))
    return log


def test_lines_are_numbered_and_carry_the_digest_of_the_line_before(tmp_path):
    log = filled(tmp_path)
    lines = list(log.lines())
    assert [line.seq for line in lines] == [1, 2, 3, 4, 5, 6]
    for before, after in zip(lines, lines[1:], strict=False):
        assert after.previous == line_digest(before)
    assert log.head() == (6, line_digest(lines[-1]))
    assert log.path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("number", range(5))
def test_a_line_that_was_removed_shows(tmp_path, number):
    log = filled(tmp_path)
    lines = log.path.read_bytes().splitlines(keepends=True)
    del lines[number]
    log.path.write_bytes(b"".join(lines))
    with pytest.raises(VerificationError):
        log.head()


@pytest.mark.parametrize("number", range(5))
def test_a_line_that_was_changed_shows(tmp_path, number):
    log = filled(tmp_path)
    lines = log.path.read_bytes().splitlines(keepends=True)
    lines[number] = lines[number].replace(b'"ok"', b'"no"')
    log.path.write_bytes(b"".join(lines))
    with pytest.raises(VerificationError):
        log.head()


def test_a_line_that_was_put_in_or_moved_shows(tmp_path):
    log = filled(tmp_path)
    lines = log.path.read_bytes().splitlines(keepends=True)
    for wrong in ([*lines, lines[-1]], [lines[1], lines[0], *lines[2:]], [b"{}\n", *lines]):
        log.path.write_bytes(b"".join(wrong))
        with pytest.raises(VerificationError):
            log.head()


def test_a_cut_end_shows_only_to_who_kept_the_head(tmp_path):
    log = filled(tmp_path)
    kept = log.head()
    lines = log.path.read_bytes().splitlines(keepends=True)
    log.path.write_bytes(b"".join(lines[:-1]))
    assert log.head() != kept  # and no error: that is why heads are kept elsewhere


def test_a_large_log_goes_on_in_another_file_without_losing_the_chain(tmp_path):
    log = filled(tmp_path, 40, largest_part=1000)
    assert len(log.parts()) > 3 and log.parts()[-1] == log.path
    assert [line.seq for line in log.lines()] == list(range(1, 41))
    log.parts()[1].unlink()
    with pytest.raises(VerificationError):
        log.head()


def test_part_of_a_line_that_a_crash_left_is_taken_away_and_noted(tmp_path):
    log = filled(tmp_path, 3)
    with log.path.open("ab") as stream:
        stream.write(b'{"seq":4,"pre')
    assert log.head()[0] == 3  # not yet a line
    log.append(Ended(exit_code=0))
    entries = [line.entry for line in log.lines()]
    assert isinstance(entries[3], Repaired) and entries[3].removed_bytes == 13
    assert isinstance(entries[4], Ended)


def test_a_full_disk_raises_and_leaves_the_log_as_it_was(tmp_path, monkeypatch):
    log = filled(tmp_path, 2)
    before = log.path.read_bytes()
    write = os.write

    def half(descriptor, data):
        if len(data) > 20:
            return write(descriptor, data[:20])
        raise OSError(errno.ENOSPC, "No space left on device")

    def one_part(descriptor, data):
        monkeypatch.setattr(os, "write", lambda d, rest: half(d, b""))
        return half(descriptor, data)

    monkeypatch.setattr(os, "write", one_part)
    with pytest.raises(DiskFullError):
        log.append(Ended(exit_code=0))
    monkeypatch.undo()
    assert log.path.read_bytes() == before
    assert log.append(Ended(exit_code=0)) == [3]


def test_a_line_is_forced_to_disk_before_append_returns(tmp_path, monkeypatch):
    forced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: forced.append(os.fstat(descriptor).st_size))
    log = AuditLog(tmp_path)
    log.append(Ended(exit_code=0))
    assert log.path.stat().st_size in forced


def test_a_link_or_another_name_of_a_file_is_not_written_to(tmp_path):
    target = tmp_path / "elsewhere"
    target.write_text("mine\n")
    home = tmp_path / "home"
    home.mkdir()
    log = AuditLog(home)
    log.path.symlink_to(target)
    with pytest.raises(ConfigError):
        log.append(Ended(exit_code=0))
    log.path.unlink()
    os.link(target, log.path)
    with pytest.raises(ConfigError):
        log.append(Ended(exit_code=0))
    assert target.read_text() == "mine\n"


def test_processes_that_append_at_one_time_keep_one_chain(tmp_path):
    code = (
        "import sys; from pathlib import Path\n"
        "from fedloom.common.audit_log import AuditLog\n"
        "from fedloom.common.audit_entries import Began\n"
        "log = AuditLog(Path(sys.argv[1]), largest_part=2000)\n"
        "for _ in range(25): log.append(Began(words=('a',)))\n"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT) for _ in range(3)
    ]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    lines = list(AuditLog(tmp_path).lines())
    assert len(lines) == 75 and all(isinstance(line.entry, Began) for line in lines)


def test_a_damaged_newest_line_stops_all_until_its_file_is_moved_aside(tmp_path):
    log = filled(tmp_path, 3)
    log.path.write_bytes(log.path.read_bytes()[:-20] + b"x" * 19 + b"\n")
    before = log.path.read_bytes()
    with pytest.raises(VerificationError) as caught:
        log.append(Ended(exit_code=0))
    assert f"mv {log.path} {log.path}.damaged" in str(caught.value)
    assert f"sha256sum {log.path}" in str(caught.value) and log.path.read_bytes() == before
    log.path.rename(f"{log.path}.damaged")
    assert log.append(Ended(exit_code=0)) == [1]
    assert log.head()[0] == 1


def test_a_damaged_file_moved_aside_leaves_the_chain_of_the_parts_before(tmp_path):
    log = filled(tmp_path, 10, largest_part=1000)
    ends = int(log.parts()[-2].stem.removeprefix("audit-"))
    log.path.write_bytes(b"damaged\n")
    with pytest.raises(VerificationError):
        log.append(Ended(exit_code=0))
    log.path.rename(f"{log.path}.damaged")
    assert log.append(Ended(exit_code=0)) == [ends + 1]
    assert log.head()[0] == ends + 1


def test_a_line_that_could_not_be_read_back_is_not_written(tmp_path):
    log = filled(tmp_path, 1)
    with pytest.raises(ValueError, match="too many"):
        log.append(Began(words=("x" * (1 << 20),)))
    assert log.append(Ended(exit_code=0)) == [2]


def test_a_line_is_plain_json_with_a_kind(tmp_path):
    log = AuditLog(tmp_path)
    log.append(Began(words=("site", "pause")))
    (line,) = (json.loads(raw) for raw in log.path.read_text().splitlines())
    assert line["kind"] == "command" and line["words"] == ["site", "pause"]
    assert set(line) == {"kind", "words", "seq", "previous", "time", "user"}
