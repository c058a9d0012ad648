"""How a run stands, for the process that submitted it to Flower.

Flower's own commands end with 0 when a run fails, and they know no exit codes of ours; so the
coordinator leaves its state in the run's folder: `status.json`, replaced as a whole, and
`events.jsonl`, one line for each event that it would have shown on a screen.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

__all__ = ["RunStatus", "events_file", "read_status", "write_status"]

_NAME = "status.json"
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
    partial = run_dir / f".{_NAME}.{os.getpid()}"
    with partial.open("w", encoding="utf-8") as stream:
        json.dump(asdict(status), stream, sort_keys=True)
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(run_dir / _NAME)


def read_status(run_dir: Path) -> RunStatus | None:
    """Returns the status, or None if there is none that can be read."""
    try:
        status = RunStatus(**json.loads((run_dir / _NAME).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return status if status.state in _STATES else None
