"""The ServerApp: runs the coordinator in a run's folder, over Flower's Grid.

The folder comes from the run's configuration (`run-dir`), which the operator gives when the run
is submitted; everything else lies in it. How the run goes and ended stands there too
(`fedloom.server.status`), because Flower carries no exit code.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fedloom.common.audit_log import AuditLog
from fedloom.common.errors import ConfigError, FedloomError, IncompleteError
from fedloom.common.event_log import event, events_to_file
from fedloom.server.grids.bounded_pull import PullLimits, bounded_pulls
from fedloom.server.grids.flower_grid import FlowerLink, signing_site
from fedloom.server.provision.coordinator_home import CoordinatorHome
from fedloom.server.status import RunStatus, events_file, hold_run, write_status

__all__ = ["app", "run_coordinator"]

_LOGGED = ("round", "rounds", "query", "attempt", "site")
_SUPERLINK_GONE_AFTER_S = 600.0
_ENDED = (
    "the coordinator was ended from outside: by a signal, or because the program that starts "
    "Flower's apps ended; see `fedloom coordinator status`, then resume the run"
)

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Runs the study in the folder that the run's configuration names."""
    # Without this Flower's client tries a SuperLink that is gone again and again, for ever.
    retries = getattr(grid, "_retry_invoker", None)
    if retries is not None:
        retries.max_time = _SUPERLINK_GONE_AFTER_S
    run_dir = Path(str(context.run_config.get("run-dir") or ""))
    if not run_dir.is_absolute() or not run_dir.is_dir():
        raise ConfigError("the run's configuration must give run-dir, an existing absolute folder")
    run_coordinator(run_dir, lambda: _coordinate(run_dir, grid))


def run_coordinator(run_dir: Path, work: Callable[[], None]) -> None:
    """Does the coordinator's work and leaves in `run_dir` how it ended.

    Raises:
      ConfigError: another coordinator works in the folder; its status stays as it is.
      Exception: whatever `work` raised, after it was noted.
    """
    with hold_run(run_dir):
        _carry_out(run_dir, work)


def _carry_out(run_dir: Path, work: Callable[[], None]) -> None:
    pid = os.getpid()
    # A reader that finds this status finds no events of an earlier attempt.
    events_file(run_dir).unlink(missing_ok=True)
    write_status(run_dir, RunStatus(state="running", pid=pid))
    try:
        work()
    except BaseException as error:
        # Flower ends its apps by SIGTERM when the program that started them is gone.
        code, message = IncompleteError.exit_code, _ENDED
        if isinstance(error, FedloomError):
            code, message = error.exit_code, str(error)
        elif isinstance(error, Exception):
            code, message = FedloomError.exit_code, f"{type(error).__name__}: {error}"
        status = RunStatus(state="failed", exit_code=code, message=message, pid=pid)
        write_status(run_dir, status)
        raise
    write_status(run_dir, RunStatus(state="done", pid=pid))


def _coordinate(run_dir: Path, grid: Grid) -> None:
    from fedloom.server.coordinate import coordinate
    from fedloom.server.run_folder import RunFolder

    folder = RunFolder.open(run_dir)
    home = folder.state().get("coordinator")
    audit = None if home is None else AuditLog(Path(home))
    keys = {site.name: site.key or "" for site in folder.plan().sites}
    limits = PullLimits()
    link = FlowerLink(
        grid,
        keys,
        identify=lambda answer: signing_site(answer, keys),
        set_deadline=limits.set_deadline,
    )
    with (
        bounded_pulls(limits),
        events_file(run_dir).open("a", encoding="utf-8") as stream,
        _log_of(home) as log,
    ):

        def note(told: dict[str, Any]) -> None:
            stream.write(json.dumps(told) + "\n")
            stream.flush()
            known = {key: told[key] for key in _LOGGED if key in told}
            event(told["event"], to=log, run=str(folder.state()["run"]), **known)

        coordinate(run_dir, link, on_event=note, audit=audit)


def _log_of(home: str | None) -> contextlib.AbstractContextManager[logging.Logger]:
    """Returns the log of a coordinator's home; for a folder of no home, one that goes nowhere."""
    if home is None:
        return contextlib.nullcontext(logging.Logger("fedloom", logging.CRITICAL))
    opened = CoordinatorHome.open(Path(home))
    monitoring = opened.settings().monitoring
    path = opened.logs / "coordinator.log"
    return events_to_file(path, monitoring.log_format, monitoring.log_level)
