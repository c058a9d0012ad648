"""A prepared run through real Flower processes on this machine.

One SuperLink, and for each site a vault and a node (`fedloom site serve`, `fedloom site node`),
all on the loopback with free ports, a private folder for each of Flower's programs, and no
message to anybody outside. The coordinator runs where it would run between institutions, in the
ServerApp process that the SuperLink starts; this process submits the run, follows its events,
and ends everything by process id, also when it is interrupted.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from fedloom.client.flower_environment import flower_environment, free_port, program
from fedloom.client.link.sockets import is_served, prepare_socket
from fedloom.common.errors import (
    ConfigError,
    FedloomError,
    IncompleteError,
    RefusedError,
    VerificationError,
)
from fedloom.common.resources import resource_path
from fedloom.deployment.process_tree import adopted_orphans
from fedloom.deployment.processes import Processes
from fedloom.server.run_folder import RunFolder
from fedloom.server.status import RunStatus, events_file, read_status

__all__ = ["deploy_run"]

_START_S = 180.0
_LOOK_S = 0.2
_ASK_FLOWER_S = 20.0
_NODE_POLL_S = 0.3
_MAX_PLACE = 70
_CONNECTION = "fedloom"
_ERRORS: dict[int, type[FedloomError]] = {
    kind.exit_code: kind for kind in (ConfigError, RefusedError, VerificationError, IncompleteError)
}


def deploy_run(
    run_dir: Path,
    *,
    on_event: Callable[[dict[str, Any]], None] | None = None,
    homes: Mapping[str, Path] | None = None,
    site_command: Sequence[str] = (sys.executable, "-m", "fedloom", "site"),
) -> None:
    """Carries a prepared run to its end, or resumes it, through Flower.

    The ids of all processes stand in `run.json` under `processes`, their output in the run's
    folder `logs/`.

    Args:
      run_dir: a folder made by `RunFolder.create`.
      on_event: told of the coordinator's events.
      homes: each site's home; by default those that `run.json` names.
      site_command: the program whose `serve` and `node` run a site.

    Raises:
      FedloomError: the coordinator's error, with its exit code, or one of starting up.
      KeyboardInterrupt: SIGINT or SIGTERM came; everything was ended first.
    """
    run_dir = run_dir.resolve()
    folder = RunFolder.open(run_dir)
    if folder.done():
        return
    if homes is None:
        homes = {name: Path(path) for name, path in folder.state()["homes"].items()}
    for stale in (events_file(run_dir), run_dir / "status.json"):
        stale.unlink(missing_ok=True)
    # The vaults' sockets lie in it, and a socket's path is short.
    temporary = tempfile.gettempdir()
    place = temporary if len(os.fsencode(temporary)) <= _MAX_PLACE else "/tmp"
    scratch_folder = tempfile.TemporaryDirectory(prefix="fedloom-", dir=place)
    with _interruptible(), adopted_orphans(), scratch_folder as scratch:
        deployment = _Deployment(folder, homes, site_command, Path(scratch))
        try:
            deployment.start()
            status = deployment.follow(on_event or (lambda event: None))
        finally:
            deployment.stop()
            events_file(run_dir).unlink(missing_ok=True)
    if status.state != "done":
        raise _ERRORS.get(status.exit_code, FedloomError)(status.message)


class _Deployment:
    """The processes of one run."""

    def __init__(
        self,
        folder: RunFolder,
        homes: Mapping[str, Path],
        site_command: Sequence[str],
        scratch: Path,
    ) -> None:
        self._folder = folder
        self._homes = homes
        self._site_command = list(site_command)
        self._scratch = scratch
        self._address = f"127.0.0.1:{free_port()}"
        self._processes = Processes(folder.path / "logs")
        self._environment = flower_environment(scratch / "operator")
        self._run_id = ""

    def start(self) -> None:
        """Starts everything and submits the run."""
        sockets = {
            site: self._scratch / f"{number}.sock" for number, site in enumerate(self._homes)
        }
        self._start_superlink()
        for site, home in self._homes.items():
            self._start_vault(site, home, sockets[site])
        self._wait("superlink", self._superlink_answers)
        for site in self._homes:
            self._start_node(site, sockets[site])
        # The run is submitted before the nodes are there: its first question waits for them.
        self._folder.update_state(mode="deployment", processes=self._processes.ids())
        self._submit()
        for site in self._homes:
            self._wait(f"vault-{site}", partial(is_served, sockets[site]))

    def _start_superlink(self) -> None:
        host, _, port = self._address.partition(":")
        self._start(
            "superlink",
            [program("flower-superlink"), "--insecure", "--host", host, "--port", port]
            + ["--disable-runtime-dependency-installation"],
        )

    def _start_vault(self, site: str, home: Path, socket: Path) -> None:
        prepare_socket(socket)
        command = ["serve", "--home", str(home.resolve()), "--socket", str(socket)]
        self._start(f"vault-{site}", [*self._site_command, *command])

    def _start_node(self, site: str, socket: Path) -> None:
        command = ["node", "--superlink", self._address, "--insecure", "--vault", f"unix:{socket}"]
        command += ["--flwr-home", str(self._scratch / f"node-{site}")]
        command += ["--port", str(free_port()), "--poll", str(_NODE_POLL_S)]
        self._start(f"node-{site}", [*self._site_command, *command])

    def _start(self, name: str, command: Sequence[str]) -> None:
        private = self._scratch / name
        private.mkdir(mode=0o700)
        environment = flower_environment(private)
        # Many processes share few cores here; more threads in each only get in each other's way.
        environment.setdefault("OMP_NUM_THREADS", "1")
        self._processes.start(name, command, env=environment, cwd=private)

    def _wait(self, name: str, ready: Callable[[], bool]) -> None:
        end = time.monotonic() + _START_S
        while not ready():
            code = self._processes.exit_code(name)
            if code is not None:
                kind = _ERRORS.get(code, FedloomError)
                raise kind(f"{name} did not start: {self._processes.last_words(name)}")
            if time.monotonic() > end:
                raise IncompleteError(
                    f"{name} did not start within {_START_S:.0f} s; see "
                    f"{self._processes.log(name)}, then resume the run"
                )
            time.sleep(_LOOK_S)

    def _superlink_answers(self) -> bool:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"http://{self._address}/health", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def _submit(self) -> None:
        bundle = self._scratch / "bundle"
        shutil.copytree(resource_path("deploy/bundle"), bundle)
        settings = self._scratch / "run.toml"
        settings.write_text(f"run-dir = {json.dumps(str(self._folder.path))}\n", "utf-8")
        flwr_home = self._scratch / "operator"
        flwr_home.mkdir(mode=0o700)
        (flwr_home / "config.toml").write_text(
            f'[superlink]\ndefault = "{_CONNECTION}"\n\n'
            f'[superlink.{_CONNECTION}]\naddress = "{self._address}"\ninsecure = true\n',
            "utf-8",
        )
        told = self._flwr("run", str(bundle), _CONNECTION, "--run-config", str(settings))
        self._run_id = str(told.get("run-id", ""))
        if not self._run_id:
            raise IncompleteError(
                f"Flower did not take the run: {told}; see {self._processes.log('superlink')}"
            )

    def _flwr(self, *arguments: str) -> dict[str, Any]:
        """Runs Flower's command line and returns what it prints as JSON."""
        done = subprocess.run(
            [program("flwr"), *arguments, "--format", "json"],
            env=self._environment,
            cwd=self._scratch,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_START_S,
            check=False,
        )
        try:
            told: dict[str, Any] = json.loads(done.stdout)
        except ValueError:
            return {"error": (done.stdout + done.stderr).strip()[-500:]}
        return told

    def follow(self, on_event: Callable[[dict[str, Any]], None]) -> RunStatus:
        """Passes on events until the coordinator is done; returns how it ended."""
        events = _Tail(events_file(self._folder.path))
        next_question = time.monotonic() + _ASK_FLOWER_S
        ended = ""
        while True:
            status = read_status(self._folder.path)
            for event in events.new():
                on_event(event)
            if status is not None and status.state != "running":
                return status
            if self._processes.exit_code("superlink") is not None:
                ended = "the SuperLink ended"
            if ended:
                return RunStatus(
                    state="failed",
                    exit_code=IncompleteError.exit_code,
                    message=f"{ended} before the coordinator was done; see "
                    f"{self._folder.path / 'logs'}, then resume the run",
                )
            gone = status is not None and not _lives(status.pid)
            if gone or time.monotonic() > next_question:
                next_question = time.monotonic() + _ASK_FLOWER_S * (1 if status is None else 3)
                ended = self._flower_says_ended()
            time.sleep(_LOOK_S)

    def _flower_says_ended(self) -> str:
        """Returns Flower's word for the run's end, or an empty text while it runs."""
        told = self._flwr("list", _CONNECTION, "--run-id", self._run_id)
        states = [str(run.get("status", "")) for run in told.get("runs", [])]
        return next((f"Flower's run {state}" for state in states if "finished" in state), "")

    def stop(self) -> None:
        """Ends every process, nodes first so that they take their leave of the SuperLink."""
        with _deaf():
            self._processes.stop(
                ([f"node-{site}" for site in self._homes], 4.0),
                ([f"vault-{site}" for site in self._homes], 8.0),
                (["superlink"], 2.0),
            )


class _Tail:
    """Reads the whole lines that were added to a file since the last look."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def new(self) -> list[dict[str, Any]]:
        try:
            with self._path.open("rb") as stream:
                stream.seek(self._offset)
                added = stream.read()
        except FileNotFoundError:
            return []
        whole = added[: added.rfind(b"\n") + 1]
        self._offset += len(whole)
        return [json.loads(line) for line in whole.splitlines()]


def _lives(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return True


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Makes SIGTERM end things as Ctrl-C does."""
    if not _in_main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """Ignores a second Ctrl-C while processes are being ended."""
    if not _in_main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
