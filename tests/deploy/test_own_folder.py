"""What root writes into folders around which others own everything: no link leads it elsewhere."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedloom.common.errors import ConfigError
from fedloom.common.holding import hold
from fedloom.deployment.own_folder import OwnFolder
from fedloom.deployment.processes import Processes
from fedloom.deployment.supervisor import end_supervisor

_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
_HOLD = """import fcntl, sys, time
f = open(sys.argv[1])
fcntl.flock(f, fcntl.LOCK_EX)
print(1, flush=True)
time.sleep(60)
"""


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file that nothing may change."""
    path = tmp_path / "secret"
    path.write_text("of root alone")
    path.chmod(0o600)
    return path


def untouched(secret: Path) -> bool:
    status = secret.stat()
    return (secret.read_text(), status.st_mode & 0o777, status.st_uid) == (
        "of root alone",
        0o600,
        os.geteuid(),
    )


def test_a_link_is_replaced_and_what_it_leads_to_stays(tmp_path, secret):
    folder = OwnFolder(tmp_path / "own")
    link = folder.path / "kit.json"
    link.symlink_to(secret)
    folder.put("kit.json", b"kit", (os.geteuid(), os.getegid()))
    assert not link.is_symlink() and link.read_bytes() == b"kit" and untouched(secret)
    # The twin: a plain copy goes through the link.
    link.unlink()
    link.symlink_to(secret)
    shutil.copyfile(__file__, link)
    assert not untouched(secret)


def test_logs_go_through_no_link(tmp_path, secret):
    processes = Processes(tmp_path / "logs")
    processes.log("p").symlink_to(secret)
    with pytest.raises(OSError):
        processes.start("p", [sys.executable, "-c", "print(1)"], env={}, cwd=tmp_path)
    processes.log("p").unlink()
    processes.log("p").write_bytes(b"")
    os.truncate(processes.log("p"), 17 << 20)
    processes.log("p").with_name("p.log.1").symlink_to(secret)
    processes.rotate("p")
    assert processes.log("p").with_name("p.log.1").stat().st_size == 17 << 20
    assert untouched(secret)


def test_a_folder_that_is_a_link_or_open_to_others_is_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    for name in ("link", "open"):
        with pytest.raises(ConfigError):
            OwnFolder(tmp_path / name)


@_root
def test_a_folder_of_another_user_is_refused(tmp_path):
    (tmp_path / "theirs").mkdir()
    os.chown(tmp_path / "theirs", 65534, 65534)
    with pytest.raises(ConfigError):
        Processes(tmp_path / "theirs")


def test_a_lock_that_is_a_link_is_refused(tmp_path, secret):
    (tmp_path / "up.lock").symlink_to(secret)
    with pytest.raises(ConfigError), hold(tmp_path / "up.lock", "end it"):
        pass
    (tmp_path / "up.lock").unlink()
    os.link(secret, tmp_path / "up.lock")
    with pytest.raises(ConfigError), hold(tmp_path / "up.lock", "end it"):
        pass
    assert untouched(secret)


@pytest.fixture
def lent() -> Iterator[Path]:
    """A folder that every user may pass through."""
    folder = Path(tempfile.mkdtemp(prefix="fedloom-lent-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("owner", ["same", pytest.param("nobody", marks=_root)])
def test_no_process_is_ended_because_a_lock_names_it(lent, owner):
    """Somebody holds the lock, and names a process of fedloom's that has nothing to do with it."""
    lock = lent / "up.lock"
    victim = subprocess.Popen([sys.executable, "-c", "'fedloom'; import time; time.sleep(60)"])
    lock.write_text(json.dumps({"pid": victim.pid, "host": "h", "since": "now"}))
    user = None
    if owner == "nobody":
        user = pwd.getpwnam("nobody").pw_uid
        os.chown(lock, user, -1)
    command = [sys.executable, "-c", _HOLD, str(lock)]
    holder = subprocess.Popen(command if user is None else _as(user, lock), stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None and holder.stdout.readline()
        with pytest.raises(ConfigError):
            end_supervisor(lent, within_s=1)
        assert victim.poll() is None
    finally:
        for process in (victim, holder):
            process.kill()
            process.wait()
        assert holder.stdout is not None
        holder.stdout.close()


def _as(user: int, lock: Path) -> list[str]:
    """Holds the lock as another user, whose Python may be out of reach."""
    held = 'exec 9<"$0"; flock -x 9; echo 1; exec sleep 60'
    return ["setpriv", f"--reuid={user}", "--clear-groups", "sh", "-c", held, str(lock)]
