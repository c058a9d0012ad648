"""Runs as a coordinator leaves them: at work, or ended before they were done."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedloom.server.run_folder import RunFolder
from fedloom.server.status import RunStatus, write_status

# Works in a run's folder as the coordinator's process does, until it is ended.
WORKER = """
import os, sys, time
from pathlib import Path
from fedloom.server.status import RunStatus, hold_run, write_status
run = Path(sys.argv[1])
with hold_run(run):
    write_status(run, RunStatus(state="running", pid=os.getpid()))
    print("works", flush=True)
    time.sleep(600)
"""


@contextmanager
def at_work(run: Path) -> Iterator[subprocess.Popen[str]]:
    """Has a process work in a run's folder."""
    command = [sys.executable, "-c", WORKER, str(run)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "works\n"
            yield process
        finally:
            process.kill()


def begun(finished: Path, run: Path, home: Path) -> Path:
    """Makes a run that is not done, of one that is, and of a coordinator."""
    shutil.copytree(finished, run)
    folder = RunFolder(run)
    lines = folder.metrics_path.read_text().splitlines()
    folder.metrics_path.write_text(lines[0] + "\n")
    folder.update_state(
        state="running",
        coordinator=str(home),
        void=[{"round": 1, "query": "statistic", "attempt": 1, "sites": ["north"]}],
    )
    write_status(run, RunStatus(state="failed", exit_code=5, message="too few sites answered"))
    return run
