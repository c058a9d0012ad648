"""A backup of a home: keys, rules, approved plans and the ledger at one moment, in one file.

The file is a tar archive of mode 0600. It holds no record: frozen records are made anew when a
plan is approved. It is as secret as the home, for its keys are in it. From the next answer on it is
old: see `fedloom.client.restore`. So it bears the mark of a home that answers nothing, which holds
also if it is unpacked by hand.
"""

from __future__ import annotations

import io
import os
import tarfile
import tempfile
from pathlib import Path

import msgspec

from fedloom.client.home import Home
from fedloom.client.key_files import changing_keys
from fedloom.common.errors import ConfigError
from fedloom.common.signed_heads import SeenHead
from fedloom.privacy.ledger import copy_ledger, read_ledger

__all__ = ["unpack", "write_backup"]

_FILES = (
    "site.toml",
    "key.pem",
    "exchange.pem",
    "node.pem",
    "kit.json",
    "authority.crt",
    "paused",
)
_MARK = "turned-back.json"
_LEDGER = ("ledger.db", "ledger.head")
_APPROVED = "approved"
_MOST_BYTES = 1 << 32


def write_backup(home: Home, path: Path) -> int:
    """Writes a backup of a home, also while its vault serves.

    Args:
      home: the home.
      path: a file that is not there yet.

    Returns:
      The number of the ledger's last entry in it.

    Raises:
      ConfigError: the file exists, or cannot be written.
    """
    with changing_keys(home.path), tempfile.TemporaryDirectory(prefix="fedloom-backup-") as folder:
        head = copy_ledger(home.path, Path(folder))
        lost = read_ledger(Path(folder)).lost
        files = [home.path / name for name in _FILES if (home.path / name).is_file()]
        files += [Path(folder) / name for name in _LEDGER]
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            raise ConfigError(f"{path} exists already; give the backup another name") from None
        except OSError as error:
            raise ConfigError(f"cannot write {path}: {error.strerror}") from error
        try:
            with (
                os.fdopen(descriptor, "wb") as stream,
                tarfile.open(fileobj=stream, mode="w") as tar,
            ):
                # First, so that a part of the archive is marked as well.
                _add(
                    tar, _MARK, _mark(home, SeenHead(epoch=len(lost), seq=head.seq, hash=head.hash))
                )
                for file in files:
                    _add(tar, file.name, file.read_bytes())
                for plan in sorted(home.approved.glob("*.json")):
                    _add(tar, f"{_APPROVED}/{plan.name}", plan.read_bytes())
                stream.flush()
                os.fsync(stream.fileno())
        except OSError:
            path.unlink(missing_ok=True)
            raise
    return head.seq


def unpack(path: Path, out: Path) -> Home:
    """Makes a home of a backup; its mark keeps it from answering until its loss is counted.

    Raises:
      ConfigError: the file is no backup, or the folder holds something.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} is not empty; a home is restored into a new folder")
    try:
        with tarfile.open(path, mode="r:") as tar:
            members = tar.getmembers()
            found = {member.name: _read(tar, member) for member in members if member.isfile()}
    except (OSError, tarfile.TarError) as error:
        raise ConfigError(f"{path} cannot be read as a backup ({error})") from error
    names = set(found) - {name for name in found if _is_plan(name)}
    needed = {*_LEDGER, _MARK, "key.pem"}
    if len(found) != len(members) or not needed <= names <= {*_FILES, *needed}:
        raise ConfigError(f"{path} is not a backup that `fedloom site backup` has written")
    home = Home(out)
    for folder in (home.path, home.approved, home.snapshots):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, data in found.items():
        descriptor = os.open(out / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            os.fsync(stream.fileno())
    return home


def _mark(home: Home, head: SeenHead) -> bytes:
    """What a home is marked with already, else the head of the copy."""
    path = home.turned_back_path
    return path.read_bytes() if path.exists() else msgspec.json.encode(head)


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), 0o600
    tar.addfile(entry, io.BytesIO(data))


def _read(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = tar.extractfile(member) if member.size <= _MOST_BYTES else None
    if stream is None:
        raise tarfile.TarError(f"{member.name} is too large")
    return stream.read()


def _is_plan(name: str) -> bool:
    folder, _, file = name.partition("/")
    stem = file.removesuffix(".json")
    return folder == _APPROVED and file.endswith(".json") and stem.isalnum() and len(stem) == 64
