"""Many rounds over four sites with faults from a seed: memory, files and logs stay flat.

FEDLOOM_SOAK_ROUNDS says how many (500), FEDLOOM_FAULTS_TABLE is a file that gets the figures.
"""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fedloom.deployment.namespaces import Namespaces
from fedloom.server.run_folder import RunFolder
from tests.deploy.faults.cases import Struck, kill
from tests.deploy.faults.outcomes import Ledgers, check_done
from tests.deploy.faults.parties import COORDINATOR, Parties, Study

pytestmark = [pytest.mark.deploy, pytest.mark.faults]

SITES = ("east", "north", "south", "west")
ROUNDS = int(os.environ.get("FEDLOOM_SOAK_ROUNDS", "500"))
SEED = int(os.environ.get("FEDLOOM_FAULTS_SEED", "1"))
# A fault every so many rounds; each run of the coordinator does some rounds at least.
_BETWEEN = (12, 28)
_VICTIMS = (
    (COORDINATOR, "serverapp"),
    (COORDINATOR, "superlink"),
    (COORDINATOR, "gateway"),
    ("east", "vault"),
    ("south", "node"),
    ("west", "supervisor"),
)
# Between the second and the last quarter of a run: what grows by more than this leaks.
_GROWTH, _SPARE_MB = 1.15, 15.0
_EVERY_S = 5.0
_PATIENCE_S = 600.0


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What one program takes at one moment."""

    round: int
    program: str
    megabytes: float
    files: int


def samples(parties: Parties, round_number: int) -> Iterator[Sample]:
    """Yields memory and open files of every program that is supervised, and of the coordinator."""
    for party in parties.parties:
        programs = parties.processes_of(party)
        pid = parties.coordinator_of_run(parties.plan_of("soak"))
        if party == COORDINATOR and pid is not None:
            programs["serverapp"] = pid
        for program, number in programs.items():
            process = Path("/proc") / str(number)
            with contextlib.suppress(OSError, StopIteration):
                status = (process / "status").read_text().splitlines()
                line = next(line for line in status if line.startswith("VmRSS"))
                yield Sample(
                    round=round_number,
                    program=f"{'coordinator' if party == COORDINATOR else 'site'}: {program}",
                    megabytes=int(line.split()[1]) / 1024,
                    files=len(list((process / "fd").iterdir())),
                )


def rounds_done(parties: Parties) -> int:
    run = parties.run_of(parties.plan_of("soak"))
    if not RunFolder(run).exists():
        return 0
    return max((line["round"] for line in RunFolder(run).metrics()), default=0)


def largest(taken: list[Sample], program: str, first: float, last: float) -> tuple[float, int]:
    """Returns the most memory and files of a program in a part of the run."""
    part = [
        sample
        for sample in taken
        if sample.program == program and first * ROUNDS <= sample.round <= last * ROUNDS
    ]
    return (
        max((sample.megabytes for sample in part), default=0.0),
        max((sample.files for sample in part), default=0),
    )


def size(folder: Path) -> float:
    """Returns the megabytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def test_memory_files_and_logs_stay_flat_over_many_rounds_with_faults(tmp_path):
    if not Namespaces.available():
        pytest.skip("needs root, Linux and ip of iproute2")
    rng = random.Random(SEED)
    parties = Parties(tmp_path / "soak", SITES)
    rounds = ("num_rounds = 3", f"num_rounds = {ROUNDS}")
    parties.prepare([Study(name="soak", model="gradients", trust="per-site", edit=rounds)])
    ledgers, taken, codes, struck = Ledgers(parties), list[Sample](), list[int](), list[str]()
    plan, begun = parties.plan_of("soak"), time.monotonic()
    with parties.machines():
        strike, seen, last = rng.randint(*_BETWEEN), 0, time.monotonic()
        follower = parties.begin(plan)
        while True:
            time.sleep(_EVERY_S)
            done = rounds_done(parties)
            if done > seen:
                seen, last = done, time.monotonic()
            taken += samples(parties, done)
            assert time.monotonic() - last < _PATIENCE_S, (done, parties.last_words())
            if (code := follower.poll()) is not None:
                codes.append(code)
                if code == 0:
                    break
                assert code == 5, parties.last_words()
                follower = parties.begin(plan)
            elif done >= strike:
                strike = done + rng.randint(*_BETWEEN)
                party, program = rng.choice(_VICTIMS)
                struck.append(program)
                kill(party, program)(Struck(parties=parties, plan=plan, follower=follower, rng=rng))
        logs = {path.name: path.stat().st_size / 1e6 for path in parties.folder.rglob("*.log*")}
        database = size(parties.coordinator / "flower")
        homes = size(parties.home(SITES[0]))
        check_done(parties.run_of(plan), ledgers.check())
    seconds = time.monotonic() - begun
    lines = [
        f"{ROUNDS} rounds, {len(SITES)} sites, {len(struck)} faults "
        f"({', '.join(f'{name} {struck.count(name)}' for name in sorted(set(struck)))}); "
        f"{codes.count(5)} resumptions; {seconds / ROUNDS:.1f} s a round",
        f"largest log {max(logs.values()):.1f} MB, Flower's folder {database:.1f} MB, a home "
        f"{homes:.1f} MB",
    ]
    grown = []
    for program in sorted({sample.program for sample in taken}):
        before, after = largest(taken, program, 0.25, 0.5), largest(taken, program, 0.75, 1.0)
        lines.append(f"| {program} | {before[0]:.0f} | {after[0]:.0f} | {before[1]} | {after[1]} |")
        if after[0] > before[0] * _GROWTH + _SPARE_MB or after[1] > before[1] * _GROWTH + 10:
            grown.append(program)
    if table := os.environ.get("FEDLOOM_FAULTS_TABLE"):
        with Path(table).open("a", encoding="utf-8") as stream:
            stream.write("\n".join(lines) + "\n")
    assert grown == [], lines
    assert max(logs.values()) < 40, logs
