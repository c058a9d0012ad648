"""Processes that are started together and end together, whatever happens between.

Each gets a session of its own: Ctrl-C in a terminal reaches only the process that started them,
which ends them in order, with all that they have started themselves. If that process is killed, so
that it can end nobody, Linux sends them SIGTERM in its place: what ran on without it would hold
ports, locks and the vault's socket, and could not be started again.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from fedloom.deployment.own_folder import OwnFolder
from fedloom.deployment.process_tree import Tree, ends_with_parent

__all__ = ["Processes"]

_REAPED_WITHIN_S = 5.0
_LARGEST_LOG = 16 << 20
_OWNER_ALONE = 0o077


class Processes:
    """Starts processes, keeps their output in files, and ends them.

    Args:
      logs: folder for one file of output each.
    """

    def __init__(self, logs: Path) -> None:
        """Makes the folder, for its owner alone."""
        logs.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._logs = OwnFolder(logs)
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        user: tuple[int, int] | None = None,
    ) -> None:
        """Starts a process; what it writes is for its owner alone.

        Args:
          name: of its own, or of one that has ended.
          command: with its arguments.
          env: all of its variables.
          cwd: where it runs.
          user: numbers of the user and the group who run it, for root alone; None for one's own.
        """
        uid, gid = (None, None) if user is None else user
        self.rotate(name)
        # Appending goes on at the new end when the file is emptied below a running process.
        with self._logs.append(f"{name}.log") as output:
            self._running[name] = subprocess.Popen(
                command,
                env=dict(env),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                umask=_OWNER_ALONE,
                user=uid,
                group=gid,
                extra_groups=None if user is None else [],
                preexec_fn=ends_with_parent(),
            )

    def rotate(self, name: str) -> None:
        """Moves a large output to `NAME.log.1`, in place of the one before."""
        self._logs.rotate(f"{name}.log", _LARGEST_LOG)

    def log(self, name: str) -> Path:
        """Returns the file of a process's output."""
        return self._logs.path / f"{name}.log"

    def last_words(self, name: str, lines: int = 5) -> str:
        """Returns the end of a process's output."""
        text = self._logs.read(f"{name}.log").decode("utf-8", errors="replace")
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
