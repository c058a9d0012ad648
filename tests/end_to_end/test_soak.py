"""Many rounds over four sites with faults from a seed: the run ends, and nothing piles up."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from fedloom.client.home import Home
from fedloom.client.vault import Vault
from fedloom.client.vault_memory import memory_folder
from fedloom.common.errors import IncompleteError, QuorumError
from fedloom.common.messages import Request
from fedloom.common.study import load_study
from fedloom.privacy.ledger import read_ledger
from fedloom.server.coordinate import coordinate
from fedloom.server.run_folder import RunFolder
from fedloom.simulation import prepare
from tests.federation import make

SITES = ("east", "north", "south", "west")
ROUNDS, SPARES, REBOOTS, MOST_STARTS = 100, 30, 10, 100
MOST_GROWTH_KB = 60_000
KINDS = {"none", "lost", "late", "restart", "reboot", "crash"}


class Crash(Exception):
    """The coordinator dies."""


class Faults:
    """Loses messages, starts vaults again with and without memory, and kills the coordinator."""

    def __init__(self, folder: RunFolder, seed: int) -> None:
        self._homes = {name: folder.path / "sites" / name for name in SITES}
        self._random = random.Random(seed)
        self._reboots = 0
        self.vaults = {name: Vault.open(path) for name, path in self._homes.items()}
        self.happened: dict[str, int] = {}
        self.used_kb: list[int] = []

    def ask(self, requests, timeout_s, progress=None):
        replies = {}
        for site, data in requests.items():
            query = Request.unpack(data)
            fault = self._draw() if query.round > 1 else "none"
            self.happened[fault] = self.happened.get(fault, 0) + 1
            self.used_kb.append(resident_kb())
            if fault in ("restart", "reboot"):
                self._start_again(site, memory=fault == "restart")
            answer = b"" if fault == "lost" else self.vaults[site].handle(data)
            replies[site] = b"" if fault == "late" else answer
            if fault == "crash":
                raise Crash
        return replies

    def _draw(self) -> str:
        chances = {"lost": 0.01, "late": 0.01, "restart": 0.02, "crash": 0.03, "reboot": 0.03}
        if self._reboots >= REBOOTS:
            del chances["reboot"]
        drawn = self._random.random()
        for fault, chance in chances.items():
            if (drawn := drawn - chance) < 0:
                self._reboots += fault == "reboot"
                return fault
        return "none"

    def _start_again(self, site: str, *, memory: bool) -> None:
        self.vaults[site].close()
        folder = memory_folder() if memory else None
        self.vaults[site] = Vault(Home.open(self._homes[site]), memory=folder)

    def close(self) -> None:
        for vault in self.vaults.values():
            vault.close()


def resident_kb() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def files(path: Path) -> int:
    return sum(1 for found in path.rglob("*") if found.is_file())


@pytest.mark.slow
def test_a_long_run_with_faults_comes_to_its_end_and_nothing_piles_up(tmp_path):
    federation = make(
        tmp_path / "study",
        "gradients",
        sites=SITES,
        trust="secure-sum",
        more=f"spare_rounds = {SPARES}\n",
    )
    federation.edit("num_rounds = 3", f"num_rounds = {ROUNDS}")
    study, schema = load_study(federation.study)
    tables = {name: federation.data(name) for name in SITES}
    folder = prepare(study, schema, tables, out=tmp_path / "run", homes={})
    before = {name: files(folder.path / "sites" / name) for name in SITES}
    faults = Faults(folder, seed=8)
    for _ in range(MOST_STARTS):
        try:
            coordinate(folder.path, faults)
            break
        except (Crash, QuorumError, IncompleteError) as error:
            assert "no spare round left" not in str(error)
    faults.close()
    assert folder.done() and faults.happened.keys() == KINDS, faults.happened
    assert [line["round"] for line in folder.metrics()] == list(range(1, ROUNDS + 2))
    price = folder.plan().stated_price.epsilon
    for name in SITES:
        home = folder.path / "sites" / name
        kinds = [entry.read().kind for entry in read_ledger(home).entries]
        budget = read_ledger(home).budget()
        assert ROUNDS + 1 <= kinds.count("commit") <= ROUNDS + 1 + SPARES
        assert budget["epsilon_spent"] <= budget["epsilon_reserved"] <= price * (1 + 1e-6)
        assert files(home) <= before[name] + 2  # the private log, the lock
        log = home / "private.log"
        assert not log.exists() or log.stat().st_size < 100_000
    used = faults.used_kb
    assert max(used) - used[len(used) // 4] < MOST_GROWTH_KB
