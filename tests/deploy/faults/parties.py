"""A federation whose machines fail: started party by party, killed, cut off and put back.

Each party is a namespace of its own and runs `coordinator up` or `site up` as people do. A machine
that dies loses its processes and what its vault held in memory; its disk stays, or is put back.
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
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fedloom.cli.local_federation import LocalFederation, Records
from fedloom.client.link.sockets import default_socket, is_served
from fedloom.client.sources import Source
from fedloom.common.holding import holder
from fedloom.deployment.interruption import deaf
from fedloom.deployment.process_tree import Tree, adopted_orphans
from fedloom.deployment.supervisor import standing
from fedloom.server.run_folder import RunFolder
from fedloom.server.status import holder_of_run
from tests.federation import cli, make, table

__all__ = ["COORDINATOR", "Parties", "Study", "marked", "until"]

COORDINATOR = "coordinator"
MARK = "FEDLOOM_FAULTS_MARK"
_POLL = "0.3"
# Wide enough for hundreds of studies, so that no case is refused for its price.
_EPSILON, _DELTA = 10_000.0, 1e-3
_UP_S = 120.0


def until(true: Callable[[], object], within_s: float, what: str, *, pause_s: float = 0.1) -> None:
    """Waits until something holds.

    Raises:
      AssertionError: it does not in that time.
    """
    end = time.monotonic() + within_s
    while not true():
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {within_s:.0f} s")
        time.sleep(pause_s)


@dataclass(frozen=True, kw_only=True)
class Study:
    """A study to be run once: `more` ends its text, see `tests.federation.make`.

    Its text has the second of `edit` in place of the first.
    """

    name: str
    model: str = "mixture"
    trust: str = "secure-sum"
    more: str = ""
    edit: tuple[str, str] = ("", "")


class Parties(LocalFederation):
    """A coordinator and its sites, each on a machine that can fail.

    Args:
      folder: holds everything.
      sites: names.
    """

    def __init__(self, folder: Path, sites: tuple[str, ...]) -> None:
        super().__init__(folder, sites, namespaces=True)
        self.parties = (COORDINATOR, *sites)
        self.memory = Path(tempfile.mkdtemp(prefix="fedloom-faults-", dir="/dev/shm"))
        """A folder in memory, with one for each machine: sockets, and what its vault remembers."""
        self.variables: dict[str, dict[str, str]] = {party: {} for party in self.parties}
        """Of each party's processes, beside those that all have: a clock that is wrong."""

    # Studies.

    def prepare(self, studies: Sequence[Study]) -> None:
        """Makes homes, cards and kit, and a plan of every study, which all sites approve.

        All at once, because nothing can be approved while a vault serves its home.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        records = {}
        for number, name in enumerate(self.sites):
            data = self.folder / f"{name}.csv"
            table(100 + number, seed=number).to_csv(data, index=False)
            records[name] = Records(source=Source(path=data), epsilon=_EPSILON, delta=_DELTA)
        self.provision(self._study(Study(name="federation")), records)
        for study in studies:
            self._approve(self._study(study))

    def _study(self, study: Study) -> Path:
        folder = self.folder / "studies" / study.name
        made = make(
            folder, study.model, sites=tuple(self.sites), trust=study.trust, more=study.more
        )
        made.edit('name = "tiny"', f'name = "{study.name}"')
        made.edit(*study.edit)
        return made.study

    def _approve(self, study: Path) -> None:
        plan = study.with_name("plan.json")
        done = cli("study", "check", study, "--coordinator", self.coordinator, "--out", plan)
        assert done.code == 0, done.err
        for site in self.sites:
            done = cli("site", "approve", plan, "--home", self.home(site), "--yes")
            assert done.code == 0, done.err

    def plan_of(self, study: str) -> Path:
        """Returns the file of a study's plan."""
        return self.folder / "studies" / study / "plan.json"

    def run_of(self, plan: Path) -> Path:
        """Returns the folder of a plan's run."""
        return self.folder / "runs" / plan.parent.name

    # Machines.

    @contextlib.contextmanager
    def machines(self) -> Iterator[None]:
        """The network with all machines up; all is taken down at the end."""
        assert self._network is not None
        with adopted_orphans(), self._network:
            try:
                for party in self.parties:
                    self.start(party)
                self.wait_online()
                yield
            finally:
                with deaf():
                    self._processes.stop((self.sites, 15.0), ([COORDINATOR], 15.0))
                shutil.rmtree(self.memory, ignore_errors=True)

    def start(self, party: str) -> None:
        """Types `coordinator up` or `site up` on a party's machine."""
        if party == COORDINATOR:
            words = ["coordinator", "up", "--coordinator", str(self.coordinator)]
        else:
            words = ["site", "up", "--home", str(self.home(party)), "--poll", _POLL]
        own = self.memory / party
        own.mkdir(mode=0o700, exist_ok=True)
        variables = {MARK: str(self.folder), "XDG_RUNTIME_DIR": str(own), **self.variables[party]}
        more = [f"{name}={value}" for name, value in variables.items()]
        self._start(party, [*self.machine(party), "env", *more], *words)

    def machine(self, party: str) -> list[str]:
        """Returns the words before a command on a party's machine."""
        return self.within(None if party == COORDINATOR else party)

    def _start(self, name: str, within: list[str], *words: str) -> None:
        if self._processes.ids().get(name) is not None:
            until(lambda: self._processes.exit_code(name) is not None, 20, f"{name} ends")
        super()._start(name, within, *words)

    def wait_online(self, *parties: str) -> None:
        """Waits until programs serve and the SuperLink says that sites are connected."""
        for party in parties or self.parties:
            if party != COORDINATOR:
                until(partial(is_served, self.socket(party)), _UP_S, f"{party} serves")
        wanted = set(parties or self.parties) - {COORDINATOR}
        until(lambda: wanted <= self.online(), _UP_S, f"{wanted} are online", pause_s=1.0)

    def online(self) -> set[str]:
        """Returns the sites that the coordinator's own command calls online."""
        at = ("--coordinator", str(self.coordinator), "--json")
        done = self.command(None, "coordinator", "status", *at)
        if done.returncode != 0:
            return set()
        shown = json.loads(done.stdout)["institutions"]
        return {institution["name"] for institution in shown if institution["online"]}

    def processes_of(self, party: str) -> dict[str, int]:
        """Returns the ids of a party's programs by name, "supervisor" and "serverapp" included."""
        place = self.coordinator if party == COORDINATOR else self.home(party)
        held = standing(place)
        found = {} if held is None else {n: p["pid"] for n, p in held[1].items() if p["pid"]}
        return {**found, "supervisor": self._processes.ids()[party]}

    def tree(self, party: str) -> list[int]:
        """Returns the ids of all processes that run in a party's network."""
        return [pid for pid in marked(self.folder) if namespace(pid) == self._namespace(party)]

    def port(self, party: str) -> tuple[str, str]:
        """Returns the network of the switch, and the switch's port to a machine."""
        words = self.machine(party)[-1].rsplit("-", 1)
        return f"{words[0]}-switch", f"port{words[1]}"

    def _namespace(self, party: str) -> int:
        assert self._network is not None
        name = self.machine(party)[-1]
        return os.stat(f"/run/netns/{name}").st_ino

    def freeze(self, party: str) -> None:
        """Stops all processes of a machine; only `crash` comes after it."""
        for pid in self.tree(party):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)

    def last_words(self) -> str:
        """Returns the end of what `coordinate` said."""
        text = (self.folder / "logs" / "coordinate.log").read_text("utf-8", "replace")
        return text[-1500:]

    def check_processes(self) -> None:
        """Checks that each machine has the processes of its two or three programs and no more.

        A process that carries out a message may still be at its end.
        """
        most = 4  # a supervisor with three programs; or with two, and the node's executor
        for party in self.parties:
            until(lambda p=party: len(self.tree(p)) <= most, 30, f"{party} has more processes")

    def crash(self, party: str, *, memory: bool = True) -> None:
        """Ends all processes of a machine at one moment; its memory is lost, or kept."""
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in self.tree(party):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
        until(lambda: not self.tree(party), 20, f"{party} is dead")
        Tree([]).alive()
        if not memory:
            self.forget(party)

    def forget(self, party: str) -> None:
        """Deletes what a machine held in memory, as its restart does."""
        shutil.rmtree(self.memory / party, ignore_errors=True)

    def socket(self, party: str) -> Path:
        """Returns where a site's vault serves."""
        name = default_socket(self.home(party)).name
        return self.memory / party / "fedloom" / name

    def copy_disk(self, party: str, to: Path) -> None:
        """Copies a party's disk as it is at one moment: nothing writes while it is copied."""
        stopped = self.tree(party)
        for pid in stopped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        try:
            shutil.rmtree(to, ignore_errors=True)
            to.mkdir(parents=True)
            for path in self.disk(party):
                if path.exists():
                    shutil.copytree(path, to / path.name, symlinks=True, ignore=_no_sockets)
        finally:
            for pid in stopped:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def put_back(self, party: str, copy: Path) -> None:
        """Puts a copied disk in place of a dead machine's."""
        for path in self.disk(party):
            for entry in path.iterdir():  # the folder itself may be a disk
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
            shutil.copytree(copy / path.name, path, symlinks=True, dirs_exist_ok=True)

    def disk(self, party: str) -> list[Path]:
        """Returns the folders of a party's machine."""
        if party == COORDINATOR:
            return [self.coordinator, self.folder / "runs"]
        return [self.home(party)]

    # Runs.

    def begin(self, plan: Path, *more: str) -> subprocess.Popen[bytes]:
        """Types `coordinate PLAN` on the coordinator's machine; it is not waited for."""
        run = self.run_of(plan)
        run.parent.mkdir(exist_ok=True)
        words = ["coordinate", str(plan), "--out", str(run), "--coordinator", str(self.coordinator)]
        if RunFolder(run).exists():
            words.append("--resume")
        with (self.folder / "logs" / "coordinate.log").open("ab") as log:
            return subprocess.Popen(
                [*self.machine(COORDINATOR), sys.executable, "-m", "fedloom", *words, *more],
                env=environment_of(self.folder),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def coordinator_of_run(self, plan: Path) -> int | None:
        """Returns the process that carries a run out, if one does."""
        run = self.run_of(plan)
        held = holder_of_run(run) if run.is_dir() else None
        return held.pid if held is not None and held.pid else None

    def is_held(self, party: str) -> bool:
        """Whether a supervisor works on a party's machine."""
        place = self.coordinator if party == COORDINATOR else self.home(party)
        return holder(place / "up.lock") is not None


def environment_of(folder: Path) -> Mapping[str, str]:
    """Returns the variables of a command on a machine."""
    from fedloom.client.flower_environment import flower_environment

    return {**flower_environment(folder / "flower"), "OMP_NUM_THREADS": "1", MARK: str(folder)}


def marked(folder: Path) -> list[int]:
    """Returns the ids of living processes that carry a federation's mark, but for this one."""
    wanted, found = f"{MARK}={folder}".encode(), []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            state = (entry / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()[0]
            if state not in "ZX" and wanted in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return found


def namespace(pid: int) -> int | None:
    """Returns the number of a process's network."""
    try:
        return os.stat(f"/proc/{pid}/ns/net").st_ino
    except OSError:
        return None


def _no_sockets(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if (Path(folder) / name).is_socket()]
