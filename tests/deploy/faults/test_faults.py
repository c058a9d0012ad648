"""Real servers that are killed, cut off and put back, at every stage of a run.

All cases of a call share one federation in networks of their own. Those marked `faults` are many,
and have `make faults`; the others stand for them among the tests. FEDLOOM_FAULTS_SEED picks sites
and moments, FEDLOOM_FAULTS_STAGES says how many stages of each kind, FEDLOOM_FAULTS_TABLE is a
file that gets a line for each case.
"""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import fedloom
from fedloom.deployment.namespaces import Namespaces
from tests.deploy.faults.cases import (
    Case,
    Result,
    carry_out,
    kills,
    others,
    power_cuts,
    spread,
)
from tests.deploy.faults.damage import small_disk
from tests.deploy.faults.outcomes import Ledgers, leftovers
from tests.deploy.faults.parties import Parties, marked, until

SITES = ("north", "south", "west")
SEED = int(os.environ.get("FEDLOOM_FAULTS_SEED", "1"))
# Stages at which each kind of machine or program is struck; 7 are all.
STAGES_EACH = int(os.environ.get("FEDLOOM_FAULTS_STAGES", "2"))
_MEGABYTES = 64
# One of each kind, for every change of the repository.
FEW = ("supervisor-look", "site-vault-statistic", "power-site-between-per-site")


def every_case() -> list[Case]:
    """Returns all cases of a seed, the one that ends the federation last."""
    rng = random.Random(SEED)
    killed, cut, rest = kills(SITES, rng), power_cuts(SITES, rng), others(SITES, rng)
    few = [case for case in (*killed, *cut) if case.name in FEW]
    return [*few, *spread(killed, STAGES_EACH, rng), *spread(cut, STAGES_EACH, rng), *rest]


CASES = {case.name: case for case in every_case()}
RELEASED = Case(name="release", stage="finish", site=SITES[0], act=lambda struck: None)


@dataclass
class Rig:
    """The federation and how its cases went."""

    parties: Parties
    ledgers: Ledgers
    rng: random.Random
    results: list[Result] = field(default_factory=list)

    def heal(self) -> None:
        """Starts what is down after a case that failed, so that the next can be tried."""
        for party in self.parties.parties:
            if not self.parties.is_held(party):
                self.parties.start(party)
        self.parties.wait_online()


@pytest.fixture(scope="module")
def rig(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A federation in which every selected case has an approved study."""
    if not Namespaces.available():
        pytest.skip("needs root, Linux and ip of iproute2")
    folder = tmp_path_factory.mktemp("faults")
    parties = Parties(folder, SITES)
    named = (getattr(item, "callspec", None) for item in request.session.items)
    chosen = {spec.params.get("name") for spec in named if spec is not None}
    studies = [case.study for case in CASES.values() if case.name in chosen]
    studies.append(RELEASED.study)
    with contextlib.ExitStack() as disks:
        for disk in (parties.home("west"), folder / "runs"):
            disks.enter_context(small_disk(disk, _MEGABYTES))
        parties.prepare(studies)
        made = Rig(parties=parties, ledgers=Ledgers(parties), rng=random.Random(SEED))
        with parties.machines():
            yield made
        until(lambda: not marked(folder), 30, "all processes end")
        halves = [name for site in SITES for name in leftovers(parties.home(site))]
        assert halves == []
    if table := os.environ.get("FEDLOOM_FAULTS_TABLE"):
        write_table(Path(table), made.results)


def write_table(path: Path, results: list[Result]) -> None:
    """Adds a line for each case: its name, exit codes in turn, outcome, seconds."""
    with path.open("a", encoding="utf-8") as stream:
        for result in results:
            codes = ", ".join("killed" if code < 0 else str(code) for code in result.codes)
            words = f"| {result.name} | {codes} | {result.outcome} | {result.seconds:.0f} |"
            stream.write(words + "\n")


def marks(name: str) -> list[pytest.MarkDecorator]:
    return [pytest.mark.deploy] if name in FEW else [pytest.mark.deploy, pytest.mark.faults]


@pytest.mark.deploy
@pytest.mark.faults
def test_a_release_whose_building_was_killed_is_built_again(rig):
    parties = rig.parties
    run, out = parties.run_of(parties.plan_of(RELEASED.name)), parties.folder / "release"
    carry_out(RELEASED, parties, rig.ledgers, rig.rng)
    words = ["-m", "fedloom", "release", "build", str(run), "--out", str(out)]
    for _ in range(3):
        with subprocess.Popen([sys.executable, *words]) as building:
            time.sleep(rig.rng.uniform(1.0, 6.0))
            building.kill()
        assert not out.exists() or fedloom.verify(out).ok
    if not out.exists():
        subprocess.run([sys.executable, *words], check=True)
    assert fedloom.verify(out).ok
    assert leftovers(parties.folder / "runs") == []
    # A build has a name of its own beside its place, so the next one cannot tell it is left over.
    assert {path.name.split(".")[1] for path in parties.folder.glob(".*.partial")} <= {"release"}
    rig.ledgers.check()


@pytest.mark.parametrize("name", [pytest.param(name, marks=marks(name)) for name in CASES])
def test_a_run_ends_as_the_model_allows(rig, name):
    try:
        rig.results.append(carry_out(CASES[name], rig.parties, rig.ledgers, rig.rng))
    except Exception:
        rig.results.append(Result(name=name, codes=(), outcome="NOT ALLOWED", seconds=0.0))
        rig.heal()
        raise
