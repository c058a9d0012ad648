"""Keeps programs running: starts them together, restarts those that end, ends them together.

A program that ends is started again after a pause, which doubles with every failure from one
second to a minute and is forgotten once the program has run for a minute. systemd can do the same
with a unit for each program; this is for whoever has no systemd, and for both in one command.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from fedloom.common.errors import ConfigError, ReleaseError
from fedloom.common.files import read_plain, write_whole
from fedloom.common.holding import Holder, hold, holder
from fedloom.deployment.processes import Processes

__all__ = ["Program", "Supervisor", "end_supervisor", "standing"]

_LOOK_S = 0.2
_TICK_S = 1.0
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0
_STEADY_S = 60.0
_LOCK = "up.lock"
_OWN_LOG = "up"
_STATE = "up.json"
_LARGEST_STATE = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A program to keep running.

    Attributes:
      name: of its log.
      command: with its arguments.
      environment: all of its variables.
      folder: where it runs.
      grace_s: how long it may take to end.
      user: number of the user who runs it, and of that user's group; None for this process's.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    grace_s: float = 5.0
    user: tuple[int, int] | None = None


@dataclass(slots=True)
class _Life:
    started: float = 0.0
    next_start: float = 0.0
    pause_s: float = _FIRST_PAUSE_S
    restarts: int = 0
    last_exit: int | None = None
    running: bool = field(default=False)


class Supervisor:
    """Keeps programs running until SIGTERM or SIGINT.

    Args:
      programs: in the order in which they are started; they are ended in the reverse order.
      folder: holds the lock and what `standing` reads.
      logs: folder of the programs' output.
      tick: called about every second; what it raises ends everything.
      tell: told when a program starts and ends.
    """

    def __init__(
        self,
        programs: Sequence[Program],
        *,
        folder: Path,
        logs: Path,
        tick: Callable[[], None] = lambda: None,
        tell: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._programs = {program.name: program for program in programs}
        self._folder = folder
        self._processes = Processes(logs)
        self._lives = {program.name: _Life() for program in programs}
        self._tick = tick
        self._tell = tell
        self._stopped = threading.Event()

    def run(self) -> None:
        """Runs the programs; call it from the main thread.

        Raises:
          ConfigError: a supervisor works in the folder already.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        with hold(self._folder / _LOCK, f"{self._folder} is up already; end it first"):
            try:
                next_tick = 0.0
                while not self._stopped.is_set():
                    self._look()
                    if time.monotonic() >= next_tick:
                        next_tick = time.monotonic() + _TICK_S
                        for name in (*self._programs, _OWN_LOG):
                            self._processes.rotate(name)
                        self._tick()
                    self._stopped.wait(_LOOK_S)
            finally:
                waves = [([p.name], p.grace_s) for p in reversed(self._programs.values())]
                self._processes.stop(*waves)
                (self._folder / _STATE).unlink(missing_ok=True)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopped.set()

    def _look(self) -> None:
        now, changed = time.monotonic(), False
        for name, life in self._lives.items():
            if life.running:
                code = self._processes.exit_code(name)
                if code is None:
                    if now - life.started > _STEADY_S:
                        life.pause_s = _FIRST_PAUSE_S
                    continue
                life.running, life.last_exit = False, code
                life.next_start = now + life.pause_s
                self._tell(
                    f"{name} ended with {code}, is started again in {life.pause_s:.0f} s; see "
                    f"{self._processes.log(name)}"
                )
                life.pause_s = min(2 * life.pause_s, _LONGEST_PAUSE_S)
                changed = True
            if now >= life.next_start:
                self._start(name, life, now)
                changed = True
        if changed:
            self._note()

    def _start(self, name: str, life: _Life, now: float) -> None:
        program = self._programs[name]
        self._processes.start(
            name,
            program.command,
            env=program.environment,
            cwd=program.folder,
            user=program.user,
        )
        life.restarts += 1 if life.started else 0
        life.started, life.running = now, True
        self._tell(f"started {name}")

    def _note(self) -> None:
        ids = self._processes.ids()
        state = {
            name: {
                "pid": ids.get(name) if life.running else None,
                "restarts": life.restarts,
                "last_exit": life.last_exit,
            }
            for name, life in self._lives.items()
        }
        write_whole(self._folder / _STATE, json.dumps(state, indent=2) + "\n")


def standing(folder: Path) -> tuple[Holder, dict[str, Any]] | None:
    """Returns who keeps the folder's programs running, and how each stands; None if nobody does."""
    held = holder(folder / _LOCK)
    if held is None:
        return None
    try:
        programs: dict[str, Any] = json.loads(read_plain(folder / _STATE, _LARGEST_STATE))
    except (ReleaseError, ValueError):
        programs = {}
    return held, programs


def end_supervisor(folder: Path, within_s: float = 60.0) -> bool:
    """Ends what runs in the folder; returns whether something did and has ended.

    Raises:
      ConfigError: the process that the lock's file names is not the one that holds it.
    """
    held = holder(folder / _LOCK)
    if held is None or not held.pid:
        return False
    try:
        process = os.pidfd_open(held.pid)
    except ProcessLookupError:
        process = None
    try:
        # The descriptor means this process alone, so its number cannot pass on after the check.
        if process is None or not _works_on(held.pid, folder / _LOCK):
            raise ConfigError(
                f"{folder / _LOCK} names process {held.pid}, which is no supervisor of this "
                "folder; find out who wrote that, and end the right process by hand"
            )
        signal.pidfd_send_signal(process, signal.SIGTERM)
    finally:
        if process is not None:
            os.close(process)
    end = time.monotonic() + within_s
    while holder(folder / _LOCK) is not None:
        if time.monotonic() > end:
            return False
        time.sleep(_LOOK_S)
    return True


def _works_on(pid: int, lock: Path) -> bool:
    """Tells whether a process is fedloom's, of the lock file's owner, and has that file open.

    Who owns the folder can write any number into the file, but cannot give it to another owner.
    """
    process = Path("/proc") / str(pid)
    try:
        status = lock.lstat()
        if process.stat().st_uid != status.st_uid:
            return False
        if b"fedloom" not in (process / "cmdline").read_bytes():
            return False
        for entry in (process / "fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                opened = entry.stat()
                if (opened.st_dev, opened.st_ino) == (status.st_dev, status.st_ino):
                    return True
    except OSError:
        return False
    return False
