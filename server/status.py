"""How a run stands, for the process that submitted it to Flower.

Flower's own commands end with 0 when a run fails, and they know no exit codes of ours; so the
coordinator leaves its state in the run's folder: `status.json`, replaced as a whole, and
`events.jsonl`, one line for each event that it would have shown on a screen. While it works it
holds a lock there, which the system drops when it ends in whatever way: a status that says
"running" without a holder is that of a coordinator that was killed.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from fedloom.common.errors import IncompleteError
from fedloom.common.files import write_whole
from fedloom.common.holding import Holder, forget_holder, hold, holder, killed_holder

__all__ = [
    "RunStatus",
    "current_status",
    "discard_status",
    "events_file",
    "hold_run",
    "holder_of_run",
    "read_status",
    "write_status",
]

_NAME = "status.json"
_LOCK = "coordinator.lock"
_STATES = ("running", "done", "failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStatus:
    """State of a coordinator.

    Attributes:
      state: "running", "done" or "failed".
      exit_code: what the command line should end with; 0 while it runs.
      message: what went wrong.
      pid: the coordinator's process.
    """

    state: str
    exit_code: int = 0
    message: str = ""
    pid: int = 0


def events_file(run_dir: Path) -> Path:
    """Returns the file that holds the coordinator's events."""
    return run_dir / "events.jsonl"


def write_status(run_dir: Path, status: RunStatus) -> None:
    """Replaces the status; readers see the old one or the new one, whole."""
    write_whole(run_dir / _NAME, json.dumps(asdict(status), sort_keys=True), shared=True)


def read_status(run_dir: Path) -> RunStatus | None:
    """Returns the status, or None if there is none that can be read."""
    try:
        status = RunStatus(**json.loads((run_dir / _NAME).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return status if status.state in _STATES else None


def hold_run(run_dir: Path) -> contextlib.AbstractContextManager[None]:
    """Keeps a second coordinator out of a run's folder.

    Raises:
      ConfigError: on entering, if another process works in it.
    """
    return hold(
        run_dir / _LOCK,
        f"works in {run_dir} already; see `fedloom watch {run_dir}`, or end it with `fedloom stop "
        f"{run_dir}`",
    )


def holder_of_run(run_dir: Path) -> Holder | None:
    """Returns the coordinator that works in a run's folder now, or None."""
    return holder(run_dir / _LOCK)


def current_status(run_dir: Path) -> RunStatus | None:
    """Returns the status, where a coordinator that is gone counts as failed; None without one."""
    status = read_status(run_dir)
    if status is not None and status.state != "running" or holder_of_run(run_dir) is not None:
        return status
    status = read_status(run_dir)  # it may have begun or ended between the two looks
    if status is not None and status.state != "running":
        return status
    # One that was killed between its lock and its first word left its number in the lock's file.
    killed = killed_holder(run_dir / _LOCK) if status is None else None
    if status is None and killed is None:
        return None
    pid = status.pid if status is not None else killed.pid if killed is not None else 0
    return RunStatus(
        state="failed",
        exit_code=IncompleteError.exit_code,
        message=f"the coordinator, process {pid}, is gone without a word: it was killed, or "
        "the machine was; resume the run",
        pid=pid,
    )


def discard_status(run_dir: Path) -> None:
    """Takes away how the last coordinator ended, before another one is started."""
    (run_dir / _NAME).unlink(missing_ok=True)
    forget_holder(run_dir / _LOCK)
