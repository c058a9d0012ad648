"""A run across institutions, from the coordinator's machine: begin, follow, stop.

The coordinator itself works in a process that Flower starts (`fedloom.server.app`). It goes on
when whoever follows it goes away; what it says lies in the run's folder.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fedloom.common.errors import (
    ConfigError,
    FedloomError,
    IncompleteError,
    RefusedError,
    VerificationError,
)
from fedloom.deployment.coordinator_programs import control_of
from fedloom.privacy.handover import chained_keys, handovers_path, read_handovers
from fedloom.privacy.plan import Plan
from fedloom.privacy.plan_version import check_version
from fedloom.privacy.release.public_input import earlier_release, read_public_table
from fedloom.server.flower_control import FlowerControl
from fedloom.server.head_registry import registry_path
from fedloom.server.provision.coordinator_home import CoordinatorHome
from fedloom.server.run_folder import RunFolder
from fedloom.server.status import (
    RunStatus,
    current_status,
    discard_status,
    events_file,
    holder_of_run,
    write_status,
)

__all__ = ["begin", "check_invited", "follow", "prepare_run", "raise_failure", "stop"]

_RUN_BYTES = 8
_LOOK_S = 0.2
_ASK_FLOWER_S = 5.0
_START_S = 180.0
_STOP_S = 30.0
_ERRORS: dict[int, type[FedloomError]] = {
    kind.exit_code: kind for kind in (ConfigError, RefusedError, VerificationError, IncompleteError)
}


def check_invited(home: CoordinatorHome, plan: Plan) -> None:
    """Holds a plan's sites and keys against the cards of the federation.

    Raises:
      ConfigError: a site was not invited, or the plan names another key than its card.
    """
    cards = {card.name: card for card in home.cards()}
    for site in plan.sites:
        card = cards.get(site.name)
        if card is None:
            raise ConfigError(
                f"the plan's site {site.name!r} was not invited; run `fedloom coordinator invite` "
                "with its card"
            )
        if site.key != card.key or site.exchange_key not in (None, card.exchange_key):
            raise ConfigError(
                f"the plan names other keys for {site.name!r} than its card; write the plan again "
                f"with `fedloom study check --coordinator {home.path} --out FILE`, and have it "
                "approved"
            )


def prepare_run(
    home: CoordinatorHome, plan: Plan, out: Path, *, resume: bool, beside: Path
) -> RunFolder:
    """Makes a run's folder, or opens it to go on.

    Args:
      home: the coordinator's.
      plan: what is carried out.
      out: the run's folder.
      resume: whether it may be there already.
      beside: folder in which the path of the plan's public table begins.

    Raises:
      ConfigError: the folder holds another run, or one without `resume`; or sites do not fit.
      OtherVersionError: another minor version resolved the plan.
    """
    check_version(plan.fedloom)
    folder = RunFolder(out)
    if folder.exists():
        if not resume:
            raise ConfigError(
                f"{out} holds a run already; go on with it by --resume, or choose another --out"
            )
        if folder.state()["plan"] != plan.digest():
            raise ConfigError(
                f"{out} holds a run of plan {str(folder.state()['plan'])[:12]}, not of "
                f"{plan.digest()[:12]}; give the plan with which it was begun"
            )
        return folder
    handovers = handovers_path(home.key_path)
    if plan.coordinator_key in chained_keys(read_handovers(handovers))[:-1]:
        raise ConfigError(
            "the plan names the key that this coordinator had before its key changed, so it no "
            "longer runs; resolve the study again with `fedloom study check --coordinator`, and "
            "have the new plan approved"
        )
    check_invited(home, plan)
    return RunFolder.create(
        out,
        plan,
        run=secrets.token_hex(_RUN_BYTES),
        key=home.key(),
        public=read_public_table(plan, beside),
        earlier=earlier_release(plan, beside),
        details={
            "mode": "deployment",
            "coordinator": str(home.path.resolve()),
            "heads": str(registry_path(home.key_path.resolve())),
            "handovers": str(handovers.resolve()),
        },
    )


def begin(home: CoordinatorHome, folder: RunFolder) -> None:
    """Has Flower start the coordinator, unless it works already.

    Raises:
      IncompleteError: the SuperLink does not take the run; the folder can be resumed.
    """
    if folder.done() or holder_of_run(folder.path) is not None:
        return
    path = folder.path.resolve()
    with control_of(home) as control:
        discard_status(path)
        folder.update_state(flower_run=control.start_run(path))
    home.note_run(path)


def follow(
    home: CoordinatorHome,
    folder: RunFolder,
    on_event: Callable[[dict[str, Any]], None],
) -> RunStatus:
    """Passes on events until the coordinator is done; returns how it ended."""
    tail = _Tail(events_file(folder.path))
    begun = time.monotonic()
    next_question = begun + _ASK_FLOWER_S
    with control_of(home) as control:
        while True:
            status = current_status(folder.path)
            for event in tail.new():
                on_event(event)
            if status is not None and status.state != "running":
                return status
            if status is None and time.monotonic() > next_question:
                next_question = time.monotonic() + _ASK_FLOWER_S
                late = time.monotonic() - begun > _START_S
                if why := _did_not_start(control, folder, late):
                    return RunStatus(
                        state="failed", exit_code=IncompleteError.exit_code, message=why
                    )
            time.sleep(_LOOK_S)


def _did_not_start(control: FlowerControl, folder: RunFolder, late: bool) -> str:
    """Says why there is no coordinator yet, if none will come."""
    ended = control.run_ended(int(folder.state().get("flower_run", 0)))
    if ended and current_status(folder.path) is None:
        return (
            f"Flower's run {ended} before the coordinator began; see logs/superexec.log in the "
            "coordinator's home, then resume the run"
        )
    if late:
        return (
            f"no coordinator began within {_START_S:.0f} s; see `fedloom coordinator status`, then "
            "resume the run"
        )
    return ""


def stop(home: CoordinatorHome, folder: RunFolder) -> bool:
    """Ends a run's coordinator; returns whether one worked. The run can be resumed.

    Raises:
      ConfigError: it works on another machine.
      IncompleteError: it does not end.
    """
    held = holder_of_run(folder.path)
    if held is None:
        return False
    if held.host != socket.gethostname():
        raise ConfigError(f"the coordinator is {held.in_words}; stop it there")
    with control_of(home) as control:
        if control.healthy() and "flower_run" in folder.state():
            control.stop_run(int(folder.state()["flower_run"]))
    for number in (signal.SIGTERM, signal.SIGKILL):
        now = holder_of_run(folder.path)
        if now is not None and now.pid == held.pid:
            os.kill(held.pid, number)
        end = time.monotonic() + _STOP_S
        while holder_of_run(folder.path) is not None and time.monotonic() < end:
            time.sleep(_LOOK_S)
    if holder_of_run(folder.path) is not None:
        raise IncompleteError(f"the coordinator, {held.in_words}, does not end; try again")
    if not folder.done():
        write_status(
            folder.path,
            RunStatus(
                state="failed",
                exit_code=IncompleteError.exit_code,
                message="stopped by its operator; resume the run when it is to go on",
                pid=held.pid,
            ),
        )
    return True


def raise_failure(status: RunStatus) -> None:
    """Raises the error with which a coordinator ended; nothing for one that is done."""
    if status.state != "done":
        raise _ERRORS.get(status.exit_code, FedloomError)(status.message)


class _Tail:
    """Reads the whole lines that were added to a file since the last look."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._inode = 0

    def new(self) -> list[dict[str, Any]]:
        try:
            with self._path.open("rb") as stream:
                inode = os.fstat(stream.fileno()).st_ino
                if inode != self._inode:  # of another attempt
                    self._inode, self._offset = inode, 0
                stream.seek(self._offset)
                added = stream.read()
        except FileNotFoundError:
            return []
        whole = added[: added.rfind(b"\n") + 1]
        self._offset += len(whole)
        return [json.loads(line) for line in whole.splitlines()]
