"""Who descends from whom among processes, and ending a whole tree.

A process group is not enough: some of Flower's programs start others in sessions of their own.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

__all__ = ["Tree", "adopted_orphans", "ends_with_parent"]

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_PR_SET_CHILD_SUBREAPER = 36
_LOOK_S = 0.05
_KILLED_WITHIN_S = 10.0


class _Entry(NamedTuple):
    parent: int
    zombie: bool
    started: str  # tells a process from a later one under the same id


class Tree:
    """Processes and all that they have started, as long as this is watched.

    Args:
      roots: ids of the processes at the top.
    """

    def __init__(self, roots: Iterable[int]) -> None:
        """Takes in what descends from the roots now."""
        table = _table()
        self._known = {pid: table[pid].started for pid in roots if pid in table}
        self._grow(table)

    def _grow(self, table: dict[int, _Entry]) -> None:
        size = -1
        while size != len(self._known):
            size = len(self._known)
            for pid, entry in table.items():
                if entry.parent in self._known:
                    self._known.setdefault(pid, entry.started)

    def alive(self) -> list[int]:
        """Returns the ids that still run; reaps those that ended as this process's children."""
        table = _table()
        self._grow(table)
        living = []
        for pid, started in self._known.items():
            entry = table.get(pid)
            if entry is None or entry.started != started:
                continue
            if not entry.zombie:
                living.append(pid)
            elif entry.parent == os.getpid():
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
        return living

    def end(self, grace_s: float) -> None:
        """Sends SIGTERM, and SIGKILL to those that run on after `grace_s` seconds."""
        self._signal(signal.SIGTERM)
        if self._ended_within(grace_s):
            return
        end = time.monotonic() + _KILLED_WITHIN_S
        while self.alive() and time.monotonic() < end:
            self._signal(signal.SIGKILL)
            time.sleep(_LOOK_S)

    def _signal(self, number: signal.Signals) -> None:
        for pid in self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _ended_within(self, seconds: float) -> bool:
        end = time.monotonic() + seconds
        while self.alive():
            if time.monotonic() > end:
                return False
            time.sleep(_LOOK_S)
        return True


def _table() -> dict[int, _Entry]:
    """Returns all processes by id."""
    if not Path("/proc/self/stat").exists():
        return _table_of_ps()
    table = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                # After the name in brackets: state, parent, and as the 20th the time of start.
                fields = (entry / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
                table[int(entry.name)] = _Entry(int(fields[1]), fields[0] in "ZX", fields[19])
    return table


def _table_of_ps() -> dict[int, _Entry]:
    """The same where there is no /proc."""
    columns = ["ps", "-A", "-o", "pid=,ppid=,stat=,lstart="]
    lines = subprocess.run(columns, capture_output=True, text=True, check=True).stdout.splitlines()
    fields = [line.split(None, 3) for line in lines]
    return {int(f[0]): _Entry(int(f[1]), f[2].startswith("Z"), f[3]) for f in fields}


@contextlib.contextmanager
def adopted_orphans() -> Iterator[None]:
    """Makes this process the parent of its descendants' orphans, where Linux offers that.

    Then it can reap them: in a container whose first process reaps nobody they would stay as
    zombies.
    """
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if library is not None:
        library.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        if library is not None:
            library.prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def ends_with_parent() -> Callable[[], None] | None:
    """Returns what a child does before it runs its program, so that it ends when its parent does.

    Linux sends it SIGTERM then, however its parent ended; elsewhere there is no such thing (None).
    It means the thread that starts the child: start it from one that lasts.
    """
    if sys.platform != "linux":
        return None
    library, parent = ctypes.CDLL(None), os.getpid()

    # Between fork and exec nothing may be imported or take a lock that another thread held.
    def ask() -> None:
        library.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
        if os.getppid() != parent:  # it ended before it was asked for
            os._exit(1)

    return ask
