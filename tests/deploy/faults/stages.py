"""The stages of a run at which a fault strikes, told by what lies on the disks."""

from __future__ import annotations

import random
import subprocess
import time
from pathlib import Path

from fedloom.common.errors import LedgerError
from fedloom.privacy.ledger import read_ledger
from fedloom.privacy.plan import Plan
from fedloom.server.status import read_status
from tests.deploy.faults.parties import Parties

__all__ = ["STAGES", "wait_for"]

# Name of a stage, and the entry of a site's ledger that shows that it is reached.
_ENTRIES: dict[str, tuple[str, int | None]] = {
    "prepare": ("reserve", None),
    "look": ("open", 1),
    "between": ("commit", 1),
    "statistic": ("open", 2),
    "answered": ("commit", 2),
    "training": ("open", 3),
    "later": ("open", 4),
    "finish": ("finish", None),
}
STAGES = ("begin", "prepare", "look", "between", "statistic", "answered", "finish")
"""Of a run of two rounds. A fault strikes up to a third of a second after a stage is reached."""

_REACHED_S = 120.0
_LOOK_S = 0.03
_JITTER_S = 0.35


def wait_for(
    stage: str,
    parties: Parties,
    plan: Path,
    follower: subprocess.Popen[bytes],
    site: str,
    rng: random.Random,
) -> None:
    """Waits until a run has come to a stage, and a random moment more; or has ended."""
    digest = Plan.load(plan).digest()
    end = time.monotonic() + _REACHED_S
    written: object = None
    while True:
        now = _written(parties, plan, site)
        if now != written and _reached(stage, parties, plan, site, digest):
            break
        written = now
        if follower.poll() is not None:
            return
        assert time.monotonic() < end, f"{stage} was not reached"
        time.sleep(_LOOK_S)
    time.sleep(rng.uniform(0, _JITTER_S))


def _written(parties: Parties, plan: Path, site: str) -> list[tuple[str, int, int]]:
    """Returns what changes whenever the ledger or the run's status is written."""
    files = [*parties.home(site).glob("ledger.*"), parties.run_of(plan) / "status.json"]
    return [
        (path.name, (status := path.stat()).st_mtime_ns, status.st_size)
        for path in sorted(files)
        if path.exists()
    ]


def _reached(stage: str, parties: Parties, plan: Path, site: str, digest: str) -> bool:
    if stage == "begin":
        run = parties.run_of(plan)
        return run.is_dir() and read_status(run) is not None
    kind, number = _ENTRIES[stage]
    try:
        entries = read_ledger(parties.home(site)).entries
    except LedgerError:  # it is written just now
        return False
    for entry in entries:
        body = entry.read()
        if body.kind == kind and body.data.get("plan") == digest:
            if number is None or body.data["round"] == number:
                return True
    return False
