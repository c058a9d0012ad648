"""Files are replaced whole or not at all, and nothing is left beside them."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from fedloom.common.errors import ReleaseError
from fedloom.common.files import read_plain, replacing, write_new, write_whole


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def no_room(descriptor: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("private", [False, True])
def test_a_file_is_replaced_and_nothing_stays_beside_it(tmp_path, private):
    write_whole(tmp_path / "file", b"first", private=private)
    write_whole(tmp_path / "file", "zwei\u00e9", private=private)
    assert names(tmp_path) == ["file"]
    assert (tmp_path / "file").read_bytes() == "zwei\u00e9".encode()


@pytest.mark.parametrize("private", [False, True])
def test_a_disk_that_is_full_leaves_the_old_file(tmp_path, monkeypatch, private):
    write_whole(tmp_path / "file", b"first", private=private)
    monkeypatch.setattr(os, "fsync", no_room)
    with pytest.raises(OSError, match="No space"):
        write_whole(tmp_path / "file", b"second", private=private)
    assert names(tmp_path) == ["file"] and (tmp_path / "file").read_bytes() == b"first"


def test_a_private_file_is_for_its_owner_alone_whatever_a_kill_left(tmp_path):
    (tmp_path / ".file.partial").write_bytes(b"half")
    (tmp_path / ".file.partial").chmod(0o644)
    write_whole(tmp_path / "file", b"x", private=True)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600
    assert names(tmp_path) == ["file"]


def test_a_kill_before_the_rename_leaves_the_old_file(tmp_path, monkeypatch):
    """What a kill leaves is named as half-written, and the next write takes its place."""
    write_whole(tmp_path / "file", b"first")

    class Killed(BaseException):
        pass

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("fedloom.common.files._clear", lambda partial: None)
        patch.setattr(os, "replace", killed)
        with pytest.raises(Killed):
            write_whole(tmp_path / "file", b"second")
    assert names(tmp_path) == [".file.partial", "file"]
    assert (tmp_path / "file").read_bytes() == b"first"
    write_whole(tmp_path / "file", b"third")
    assert names(tmp_path) == ["file"] and (tmp_path / "file").read_bytes() == b"third"


def test_writers_at_one_time_have_places_of_their_own(tmp_path):
    with replacing(tmp_path / "file", shared=True) as one:
        with replacing(tmp_path / "file", shared=True) as other:
            one.write_bytes(b"one")
            other.write_bytes(b"other")
        assert (tmp_path / "file").read_bytes() == b"other"
    assert (tmp_path / "file").read_bytes() == b"one" and names(tmp_path) == ["file"]


def test_a_folder_is_made_whole_or_not_at_all(tmp_path):
    with pytest.raises(RuntimeError), replacing(tmp_path / "folder") as partial:
        partial.mkdir()
        (partial / "half").touch()
        raise RuntimeError
    assert names(tmp_path) == []
    with replacing(tmp_path / "folder") as partial:
        partial.mkdir()
        (partial / "whole").touch()
    assert names(tmp_path / "folder") == ["whole"] and names(tmp_path) == ["folder"]


def test_a_new_file_replaces_none_and_is_not_there_by_half(tmp_path, monkeypatch):
    write_new(tmp_path / "key", b"first")
    with pytest.raises(FileExistsError):
        write_new(tmp_path / "key", b"second")
    assert (tmp_path / "key").read_bytes() == b"first"
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    monkeypatch.setattr(os, "fsync", no_room)
    with pytest.raises(OSError, match="No space"):
        write_new(tmp_path / "other", b"x")
    assert names(tmp_path) == ["key"]


@pytest.mark.parametrize("what", ["nothing", "link", "folder", "pipe", "large"])
def test_what_is_no_plain_file_of_its_size_is_not_read(tmp_path, what):
    path = tmp_path / "file"
    match what:
        case "link":
            (tmp_path / "target").write_bytes(b"x")
            path.symlink_to(tmp_path / "target")
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "large":
            path.write_bytes(b"four")
    with pytest.raises(ReleaseError):
        read_plain(path, 3)
