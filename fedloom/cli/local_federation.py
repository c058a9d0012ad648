"""A whole federation on this machine, by the commands of a real one.

Each party is on a network of its own where root allows it, else all are on the loopback. Nothing
is done here that a coordinator or a steward could not type: homes, cards, kit, joining, plan,
approvals with receipts, servers, the run. Only the telephone is missing: the kit's fingerprint
goes from one steward to the next by a variable.
"""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from fedloom.client.flower_environment import flower_environment, free_port
from fedloom.client.home import Home
from fedloom.client.link.sockets import default_socket, is_served
from fedloom.client.sources import Source
from fedloom.common.errors import FedloomError, IncompleteError
from fedloom.deployment.coordinated_run import raise_failure
from fedloom.deployment.interruption import deaf, interruptible
from fedloom.deployment.namespaces import Namespaces
from fedloom.deployment.process_tree import adopted_orphans
from fedloom.deployment.processes import Processes
from fedloom.privacy.kit import Kit
from fedloom.server.run_folder import RunFolder
from fedloom.server.status import RunStatus, current_status

__all__ = ["LocalFederation", "Records"]

_COORDINATOR = "coordinator"
_POLL_S = 0.3
_START_S = 240.0
_LOOK_S = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """A site's records, and the limits of its home.

    Attributes:
      source: where they are and how written; a file.
      epsilon: the home's lifetime limit.
      delta: of that limit.
    """

    source: Source
    epsilon: float
    delta: float


class LocalFederation:
    """A coordinator and its sites in one folder; what is there already is used again.

    Args:
      folder: holds coordinator, sites, plan, run.
      sites: names.
      namespaces: give each party a network of its own; needs root and `ip`.
      say: told what is done.
    """

    def __init__(
        self,
        folder: Path,
        sites: Sequence[str],
        *,
        namespaces: bool,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        """Names the places; nothing is made yet."""
        self.folder = folder.resolve()
        self.sites = list(sites)
        self._network = Namespaces([_COORDINATOR, *sites]) if namespaces else None
        self._say = say
        self._processes = Processes(self.folder / "logs")

    @property
    def coordinator(self) -> Path:
        """The coordinator's home."""
        return self.folder / "coordinator"

    @property
    def plan(self) -> Path:
        """The plan that all approved."""
        return self.folder / "plan.json"

    @property
    def run(self) -> Path:
        """The run's folder."""
        return self.folder / "run"

    @property
    def kit(self) -> Path:
        """What the coordinator sent to all sites."""
        return self.folder / "kit.json"

    def home(self, site: str) -> Path:
        """A site's home."""
        return self.folder / "sites" / site

    def within(self, party: str | None) -> list[str]:
        """Returns the words before a command on a site's machine, or on the coordinator's."""
        return [] if self._network is None else self._network.within(party or _COORDINATOR)

    def provision(self, study: Path, records: Mapping[str, Records]) -> None:
        """Makes homes, exchanges cards and kit, writes the plan, and has all sites approve it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.coordinator.exists():
            self._say("coordinator: init")
            host = "localhost" if self._network is None else self._network.address(_COORDINATOR)
            listen = ("--listen", "127.0.0.1" if self._network is None else "0.0.0.0")
            ports = ("--port", str(free_port()), "--superlink-port", str(free_port()))
            _fedloom("coordinator", "init", str(self.coordinator), "--host", host, *ports, *listen)
        for site in self.sites:
            self._make_home(site, records[site])
        cards = [str(self._file(site, "card")) for site in self.sites]
        at = ("--coordinator", str(self.coordinator))
        self._say("coordinator: invite, one kit for all sites")
        _fedloom("coordinator", "invite", *cards, *at, "--out", str(self.kit))
        told = Kit.load(self.kit).fingerprint()
        for site in self.sites:
            words = ("--home", str(self.home(site)), "--yes", "--fingerprint", told)
            _fedloom("site", "join", str(self.kit), *words)
        self._say(f"sites: joined, all were told the fingerprint {told}")
        if not self.plan.exists():
            _fedloom("study", "check", str(study), *at, "--out", str(self.plan))
        for site in self.sites:
            if not self._file(site, "receipt").exists():
                self._say(f"{site}: approve")
                home = ("--home", str(self.home(site)), "--yes")
                receipt = ("--receipt", str(self._file(site, "receipt")))
                _fedloom("site", "approve", str(self.plan), *home, *receipt)

    def _make_home(self, site: str, records: Records) -> None:
        home = self.home(site)
        if not Home(home).ledger_path.exists():
            self._say(f"{site}: init")
            limits = ("--epsilon", repr(records.epsilon), "--delta", repr(records.delta))
            made = ("--home", str(home), "--name", site, *limits, "--rehearsal")
            described = home.with_name(f"{site}.source.toml")
            described.parent.mkdir(parents=True, exist_ok=True)
            described.write_text(f"[source]\n{records.source.to_toml()}\n", encoding="utf-8")
            _fedloom("site", "init", *made, "--source", str(described))
        card = ("--out", str(self._file(site, "card")))
        _fedloom("site", "card", "--home", str(home), *card)

    @contextlib.contextmanager
    def up(self) -> Iterator[None]:
        """Runs all servers while the context is open, and takes everything down after it."""
        network = self._network or contextlib.nullcontext()
        with interruptible(), adopted_orphans(), network:
            try:
                where = "each on a network of its own" if self._network else "on the loopback"
                self._say(f"servers of the coordinator and {len(self.sites)} sites: up, {where}")
                at = ("--coordinator", str(self.coordinator))
                self._start(_COORDINATOR, [], "coordinator", "up", *at)
                for site in self.sites:
                    home = ("--home", str(self.home(site)), "--poll", str(_POLL_S))
                    self._start(site, self.within(site), "site", "up", *home)
                for site in self.sites:
                    self._wait(site, partial(is_served, default_socket(self.home(site))))
                self._wait(_COORDINATOR, self._all_online)
                yield
            finally:
                with deaf():
                    self._processes.stop((self.sites, 15.0), ([_COORDINATOR], 15.0))

    def _start(self, name: str, within: list[str], *words: str) -> None:
        within = within or self.within(None)
        self._processes.start(
            name,
            [*within, sys.executable, "-m", "fedloom", *words],
            env=_environment(self.folder),
            cwd=self.folder,
        )

    def _wait(self, name: str, ready: Callable[[], bool]) -> None:
        end = time.monotonic() + _START_S
        while not ready():
            if self._processes.exit_code(name) is not None:
                raise IncompleteError(
                    f"{name} did not start: {self._processes.last_words(name)}; see "
                    f"{self._processes.log(name)}"
                )
            if time.monotonic() > end:
                raise IncompleteError(f"{name} was not ready in time; see its logs")
            time.sleep(_LOOK_S)

    def _all_online(self) -> bool:
        """Asks the coordinator's own command, on its machine."""
        at = ("--coordinator", str(self.coordinator), "--json")
        done = self.command(None, "coordinator", "status", *at)
        if done.returncode != 0:
            return False
        institutions = json.loads(done.stdout)["institutions"]
        return all(institution["online"] for institution in institutions)

    def command(self, party: str | None, *words: str) -> subprocess.CompletedProcess[str]:
        """Runs a command of fedloom on a party's machine and returns what it said."""
        command = [*self.within(party), sys.executable, "-m", "fedloom", *words]
        # Files and no pipes: what a node started holds a pipe open until the node is waited for.
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            done = subprocess.run(
                command, env=_environment(self.folder), stdout=out, stderr=err, check=False
            )
            for stream in (out, err):
                stream.seek(0)
            return subprocess.CompletedProcess(command, done.returncode, out.read(), err.read())

    def coordinate(self) -> None:
        """Carries the run to its end, or goes on with it; its progress is shown.

        Raises:
          FedloomError: the coordinator's error, with its exit code.
        """
        words = ["coordinate", str(self.plan), "--out", str(self.run)]
        words += ["--coordinator", str(self.coordinator)]
        for site in self.sites:
            words += ["--receipt", str(self._file(site, "receipt"))]
        if RunFolder(self.run).exists():
            words.append("--resume")
        command = [*self.within(None), sys.executable, "-m", "fedloom", *words]
        done = subprocess.run(
            command, env=_environment(self.folder), stdout=subprocess.DEVNULL, check=False
        )
        if done.returncode != 0:
            status = current_status(self.run)
            failed = status if status is not None and status.state == "failed" else None
            raise_failure(failed or _failed(done.returncode))

    def release(self, out: Path) -> None:
        """Builds the signed release and verifies it."""
        if not out.exists():
            _fedloom("release", "build", str(self.run), "--out", str(out))
        _fedloom("release", "verify", str(out))
        self._say(f"release: {out}, verified")

    def _file(self, site: str, kind: str) -> Path:
        return self.home(site).with_name(f"{site}.{kind}.json")


def _failed(code: int) -> RunStatus:
    message = "the run did not end; above it says why"
    return RunStatus(state="failed", exit_code=code, message=message)


def _environment(folder: Path) -> dict[str, str]:
    environment = flower_environment(folder / "flower")
    # Many processes share few cores here; more threads in each only get in each other's way.
    environment.setdefault("OMP_NUM_THREADS", "1")
    return environment


def _fedloom(*words: str) -> Any:
    """Runs a command of fedloom in this process, without its output.

    Raises:
      FedloomError: the command's own error.
    """
    from fedloom.cli.main import fedloom

    with contextlib.redirect_stdout(io.StringIO()):
        result = fedloom.main(args=list(words), prog_name="fedloom", standalone_mode=False)
    if isinstance(result, int) and result != 0:
        raise FedloomError(f"`fedloom {' '.join(words[:2])}` ended with {result}")
    return result
