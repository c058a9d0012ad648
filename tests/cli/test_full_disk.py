"""A full disk is told from a damaged file: it needs room, and nothing is to be restored.

A limit on the size of files stands for the disk, so that the tests need no rights; where they may
mount, a small file system is filled to the brim as well.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedloom.common.errors import LedgerError
from fedloom.common.files import disk_is_full
from fedloom.privacy.ledger import read_ledger
from tests.federation import Federation, cli, make

ROOT = Path(__file__).resolve().parents[2]
_LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
from fedloom.cli.main import main
sys.exit(main(sys.argv[2:]))
"""


def limited(num_bytes: int, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs a command whose files cannot grow beyond a size."""
    return subprocess.run(
        [sys.executable, "-c", _LIMITED, str(num_bytes), *map(str, words)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )


def assert_said(code: int, err: str) -> None:
    last = err.strip().splitlines()[-1]
    assert code == 5, err
    assert "the disk is full" in last and "nothing is to be restored" in last
    assert "restore the whole home" not in err and "bug of fedloom" not in err


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Federation:
    return make(tmp_path_factory.mktemp("full"))


@pytest.fixture(scope="module")
def finished(federation: Federation) -> Path:
    assert federation.simulate(federation.folder / "finished").code == 0
    return federation.folder / "finished"


@pytest.mark.parametrize("num_bytes", [2_000, 10_000, 30_000])
def test_a_run_on_a_full_disk_goes_on_when_there_is_room(
    federation: Federation, tmp_path: Path, num_bytes: int
) -> None:
    out = tmp_path / "run"
    done = limited(num_bytes, "simulate", federation.study, *federation.pairs(), "--out", out)
    assert_said(done.returncode, done.stderr)
    assert done.stderr.strip().endswith("--resume")
    assert federation.simulate(out, "--resume").code == 0
    assert cli("ledger", "verify", out / "sites" / "north").code == 0


def test_no_release_is_better_than_half_of_one(finished: Path, tmp_path: Path) -> None:
    release = tmp_path / "release"
    done = limited(2_000, "release", "build", finished, "--out", release)
    assert_said(done.returncode, done.stderr)
    assert list(tmp_path.iterdir()) == []
    assert cli("release", "build", finished, "--out", release).code == 0


def test_a_home_that_the_disk_did_not_take_can_be_made_again(tmp_path: Path) -> None:
    data = tmp_path / "records.csv"
    data.write_text("age\n1\n")
    words = ("site", "init", "--home", tmp_path / "home", "--name", "north", "--epsilon", "1")
    words += ("--data", data)
    done = limited(3_000, *words)
    assert_said(done.returncode, done.stderr)
    assert cli(*words).code == 0
    assert cli("ledger", "verify", tmp_path / "home").code == 0


def test_rows_that_the_disk_did_not_take_leave_nothing(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "rows.csv"
    done = limited(3_000, "sample", finished, "--rows", "9999", "--out", out)
    assert_said(done.returncode, done.stderr)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_ledger_still_asks_for_a_backup(finished: Path, tmp_path: Path) -> None:
    home = shutil.copytree(finished / "sites" / "north", tmp_path / "home")
    ledger = home / "ledger.db"
    ledger.write_bytes(b"no database" + ledger.read_bytes()[11:])
    done = cli("budget", "show", home, "--json")
    assert done.code == 4 and done.json["code"] == LedgerError.__name__
    with pytest.raises(LedgerError):
        read_ledger(home)


def test_damage_is_no_full_disk(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("this is a text and not a database" * 40)
    with pytest.raises(sqlite3.DatabaseError) as raised:
        sqlite3.connect(tmp_path / "text.db").execute("SELECT * FROM x")
    assert not disk_is_full(raised.value)
    assert not disk_is_full(FileNotFoundError(2, "No such file"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 600 KiB; skips where it cannot be mounted."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(place)]
    try:
        mounted = subprocess.run(mount, capture_output=True).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("no right to mount a file system")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.slow
# TensorBoard writes in a thread of its own, which ends where it finds no room.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_wherever_the_disk_is_full_a_run_goes_on(federation: Federation, small_disk: Path) -> None:
    out = small_disk / "run"
    stopped = 0
    for free_kib in range(0, 400, 40):
        shutil.rmtree(out, ignore_errors=True)
        status = os.statvfs(small_disk)
        ballast = small_disk / "ballast"
        ballast.write_bytes(b"x" * (status.f_bavail * status.f_frsize - 1024 * free_kib))
        done = federation.simulate(out)
        ballast.unlink()
        if done.code:
            stopped += 1
            assert_said(done.code, done.err)
            assert federation.simulate(out, "--resume").code == 0
    assert stopped > 5


@pytest.mark.slow
def test_a_site_on_a_full_disk_is_named_though_the_run_lies_elsewhere(
    federation: Federation, small_disk: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    homes = [
        word for name in federation.sites for word in ("--home", f"{name}={small_disk / name}")
    ]
    stopped = 0
    for free_kib in (130, 170, 210, 250):
        status = os.statvfs(small_disk)
        ballast = small_disk / "ballast"
        ballast.write_bytes(b"x" * (status.f_bavail * status.f_frsize - 1024 * free_kib))
        done = federation.simulate(out, *homes)
        ballast.unlink()
        if done.code:
            stopped += 1
            assert_said(done.code, done.err)
            assert federation.simulate(out, *homes, "--resume").code == 0
        for path in (out, *(small_disk / name for name in federation.sites)):
            shutil.rmtree(path)
    assert stopped > 1
