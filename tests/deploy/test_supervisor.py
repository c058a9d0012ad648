"""The supervisor with small real programs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fedloom.common.errors import ConfigError
from fedloom.deployment.supervisor import Program, Supervisor, end_supervisor, standing

REPOSITORY = Path(__file__).resolve().parents[2]
_SUPERVISE = """
import os, sys
from pathlib import Path
from fedloom.deployment.supervisor import Program, Supervisor
folder = Path(sys.argv[1])
programs = [
    Program(name=name, command=[sys.executable, "-c", text], environment=dict(os.environ),
            folder=folder)
    for name, text in zip(sys.argv[2::2], sys.argv[3::2])
]
Supervisor(programs, folder=folder, logs=folder / "logs",
           tell=lambda text: print(text, flush=True)).run()
"""
_SLEEP = "import time; print('here', flush=True); time.sleep(60)"


def started(folder: Path, *programs: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _SUPERVISE, str(folder), *programs],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def pid_of(folder: Path, name: str) -> int | None:
    known = standing(folder)
    return None if known is None else known[1].get(name, {}).get("pid")


def test_a_program_that_was_killed_is_started_again_and_all_end_together(tmp_path):
    with started(tmp_path, "one", _SLEEP, "two", _SLEEP) as supervisor:
        until(lambda: bool(pid_of(tmp_path, "one") and pid_of(tmp_path, "two")))
        first, other = pid_of(tmp_path, "one"), pid_of(tmp_path, "two")
        assert first is not None and other is not None
        os.kill(first, signal.SIGKILL)
        until(lambda: pid_of(tmp_path, "one") not in (None, first))
        known = standing(tmp_path)
        assert known is not None and known[0].pid == supervisor.pid
        assert known[1]["one"]["restarts"] == 1 and known[1]["one"]["last_exit"] == -9
        assert pid_of(tmp_path, "two") == other
        with pytest.raises(ConfigError):
            Supervisor([], folder=tmp_path, logs=tmp_path / "logs").run()
        last = pid_of(tmp_path, "one")
        assert end_supervisor(tmp_path)
        assert supervisor.wait() == 0
    assert standing(tmp_path) is None
    for pid in (other, last):
        assert pid is not None
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert not end_supervisor(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of their parent")
def test_programs_of_a_supervisor_that_was_killed_end_too(tmp_path):
    with started(tmp_path, "one", _SLEEP, "two", _SLEEP) as supervisor:
        until(lambda: bool(pid_of(tmp_path, "one") and pid_of(tmp_path, "two")))
        pids = [pid_of(tmp_path, name) for name in ("one", "two")]
        supervisor.kill()
    for pid in pids:
        assert pid is not None
        until(lambda pid=pid: not alive(pid))
    with started(tmp_path, "one", _SLEEP) as supervisor:
        until(lambda: bool(pid_of(tmp_path, "one")))
        supervisor.terminate()


def alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def test_a_program_that_ends_at_once_is_started_after_longer_and_longer_pauses(tmp_path):
    with started(tmp_path, "bad", "raise SystemExit(3)") as supervisor:
        assert supervisor.stdout is not None
        lines = [supervisor.stdout.readline() for _ in range(4)]
        supervisor.terminate()
    ended = [line for line in lines if "ended with 3" in line]
    assert "again in 1 s" in ended[0] and "again in 2 s" in ended[1]


def test_output_is_kept_over_restarts_for_its_owner_alone_and_large_output_moves_away(tmp_path):
    from fedloom.deployment.processes import Processes

    processes = Processes(tmp_path / "logs")
    command = [sys.executable, "-c", "print('x')"]
    for _ in range(2):
        processes.start("p", command, env=dict(os.environ), cwd=tmp_path)
        until(lambda: processes.exit_code("p") is not None)
    log = processes.log("p")
    assert log.read_text() == "x\nx\n"
    os.truncate(log, 17 << 20)
    processes.rotate("p")
    assert log.stat().st_size == 0
    assert log.with_name("p.log.1").stat().st_size == 17 << 20


def test_programs_of_root_run_as_another_user(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("needs root")
    tmp_path.chmod(0o755)
    program = Program(
        name="p",
        command=["/bin/sh", "-c", "id -u; id -g; id -G"],
        environment=dict(os.environ),
        folder=Path("/"),
        user=(65534, 65534),
    )
    from fedloom.deployment.processes import Processes

    processes = Processes(tmp_path / "logs")
    processes.start(
        "p", program.command, env=program.environment, cwd=program.folder, user=program.user
    )
    until(lambda: processes.exit_code("p") is not None)
    assert processes.log("p").read_text().split() == ["65534"] * 3
