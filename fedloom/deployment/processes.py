"""Processes that are started together and end together, whatever happens between.

Each gets a session of its own: Ctrl-C in a terminal reaches only the process that started them,
which ends them in order, with all that they have started themselves.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from fedloom.deployment.process_tree import Tree

__all__ = ["Processes"]

_REAPED_WITHIN_S = 5.0


class Processes:
    """Starts processes, keeps their output in files, and ends them.

    Args:
      logs: folder for one file of output each.
    """

    def __init__(self, logs: Path) -> None:
        """Makes the folder."""
        logs.mkdir(parents=True, exist_ok=True)
        self._logs = logs
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(
        self, name: str, command: Sequence[str], *, env: Mapping[str, str], cwd: Path
    ) -> None:
        """Starts a process under a name of its own."""
        with self.log(name).open("wb") as output:
            self._running[name] = subprocess.Popen(
                command,
                env=dict(env),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def log(self, name: str) -> Path:
        """Returns the file of a process's output."""
        return self._logs / f"{name}.log"

    def last_words(self, name: str, lines: int = 5) -> str:
        """Returns the end of a process's output."""
        text = self.log(name).read_text("utf-8", errors="replace")
        return "\n".join(text.strip().splitlines()[-lines:])

    def ids(self) -> dict[str, int]:
        """Returns each process's id."""
        return {name: process.pid for name, process in self._running.items()}

    def exit_code(self, name: str) -> int | None:
        """Returns how a process ended, or None while it runs."""
        return self._running[name].poll()

    def stop(self, *waves: tuple[Sequence[str], float]) -> None:
        """Ends processes and what they have started, wave after wave.

        Args:
          *waves: names, and the seconds that they have after SIGTERM before SIGKILL. Who is
            named in none is not ended.
        """
        trees = []
        for names, grace_s in waves:
            ids = [self._running[name].pid for name in names if name in self._running]
            trees.append((Tree(ids), grace_s))
        for tree, grace_s in trees:
            tree.end(grace_s)
        for names, _ in waves:
            for name in names:
                if name in self._running:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        self._running[name].wait(_REAPED_WITHIN_S)
