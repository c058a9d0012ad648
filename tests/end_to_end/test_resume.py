"""kill -9 of the whole run at chosen points, then --resume: nothing twice, nothing forgotten.

The run that is killed and the one that is not start from copies of the same homes and draw the
same seeded noise for the same attempt, so that they must end in the same generator, bit for bit.
Seeded homes are stamped as insecure; the order of ledger, answers and checkpoints is the same.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fedloom.common.study import load_study
from fedloom.privacy.ledger import read_ledger
from fedloom.server.run_folder import RunFolder
from fedloom.simulation import prepare, run_prepared
from tests.federation import SITES, Federation, cli, make

ROOT = Path(__file__).resolve().parents[2]
SEED = 20260101

# Dies by SIGKILL at the n-th call of one function, before or after it has done its work.
_KILLED = """
import importlib, os, signal, sys
from fedloom.cli.main import main
module, owner, name, when, count = sys.argv[1:6]
target = getattr(importlib.import_module(module), owner)
inner, left = getattr(target, name), [int(count)]
def dies(*args, **kwargs):
    left[0] -= 1
    last = left[0] == 0
    if last and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    result = inner(*args, **kwargs)
    if last:
        os.kill(os.getpid(), signal.SIGKILL)
    return result
setattr(target, name, dies)
sys.exit(main(sys.argv[6:]))
"""
LEDGER = ("fedloom.privacy.ledger", "Ledger")
REPORTER = ("fedloom.server.metrics", "Reporter")
CHECKPOINTS = ("fedloom.server.checkpoints", "Checkpoints")
FOLDER = ("fedloom.server.run_folder", "RunFolder")
POINTS = {
    "while a home is made": (*LEDGER, "create", "after", 2),
    "before anything is reserved": (*LEDGER, "reserve", "before", 1),
    "when one site has reserved": (*LEDGER, "reserve", "after", 1),
    "in a round, attempt open": (*LEDGER, "open_attempt", "after", 3),
    "in a round, answer stored": (*LEDGER, "commit", "after", 3),
    "answers in, nothing kept": (*REPORTER, "round", "before", 2),
    "reported, no checkpoint": (*CHECKPOINTS, "save", "before", 2),
    "between two rounds": (*CHECKPOINTS, "save", "after", 2),
    "before the generator": (*FOLDER, "save_generator", "before", 1),
    "with the generator": (*FOLDER, "save_generator", "after", 1),
    "when one site has finished": (*LEDGER, "finish", "after", 1),
    "before the end is noted": (*FOLDER, "mark_done", "before", 1),
}
QUICK = {"in a round, attempt open", "in a round, answer stored", "reported, no checkpoint"}


def killed(point: str, *words: object) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, *map(str, POINTS[point]), *map(str, words)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


def generator_digest(run: Path) -> str:
    return hashlib.sha256((run / "generator" / "model.safetensors").read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def federation(tmp_path_factory) -> Federation:
    return make(tmp_path_factory.mktemp("resume"), "weights")


@pytest.fixture(scope="module")
def start(federation) -> Path:
    """A run folder with its homes, approved and not begun."""
    study, schema = load_study(federation.study)
    tables = {name: federation.data(name) for name in SITES}
    out = federation.folder / "start"
    prepare(study, schema, tables, out=out, homes={}, insecure_seed=SEED)
    return out


def copied(start: Path, out: Path) -> Path:
    shutil.copytree(start, out)
    state = json.loads((out / "run.json").read_text())
    state["homes"] = {name: str(out / "sites" / name) for name in SITES}
    (out / "run.json").write_text(json.dumps(state))
    return out


@pytest.fixture(scope="module")
def uninterrupted(start, federation) -> str:
    out = copied(start, federation.folder / "uninterrupted")
    run_prepared(RunFolder.open(out), insecure_seed=SEED)
    return generator_digest(out)


@pytest.mark.parametrize(
    "point",
    [
        pytest.param(point, marks=[] if point in QUICK else [pytest.mark.slow])
        for point in POINTS
        if point != "while a home is made"
    ],
)
def test_a_killed_run_resumes_to_the_same_end(federation, start, uninterrupted, tmp_path, point):
    out = copied(start, tmp_path / "run")
    words = ("simulate", federation.study, *federation.pairs(), "--out", out)
    seed = ("--insecure-seed", SEED)
    killed(point, *words, "--resume", *seed)
    stored = {name: answers(out, name) for name in SITES}
    done = cli(*words, "--resume", *seed)
    assert done.code == 0, done.err
    plan = RunFolder.open(out).plan()
    for name in SITES:
        view = read_ledger(out / "sites" / name)
        rounds = [
            (body.data["round"], body.data["answer_digest"])
            for body in (entry.read() for entry in view.entries)
            if body.kind == "commit"
        ]
        assert [number for number, _ in rounds] == [1, 2, 3]  # one commit a round
        assert stored[name].items() <= dict(rounds).items()  # stored answers were sent again
        budget = view.budget()
        assert budget["epsilon_spent"] == pytest.approx(plan.stated_price.epsilon, rel=1e-9)
        # A vault that was killed between its ledger's entry and its memory's note of it cannot know
        # that it answered nothing yet: the run counts in full at its end (decision 19).
        ends = {"finished"} | ({"counted in full"} if "reserved" in point else set())
        assert budget["studies"][0]["status"] in ends
    assert [line["round"] for line in RunFolder.open(out).metrics()] == [1, 2, 3]
    assert generator_digest(out) == uninterrupted
    assert not (out / "checkpoints").exists()


def answers(run: Path, site: str) -> dict[int, str]:
    bodies = (entry.read() for entry in read_ledger(run / "sites" / site).entries)
    return {
        body.data["round"]: body.data["answer_digest"] for body in bodies if body.kind == "commit"
    }


@pytest.mark.slow
def test_a_run_killed_while_its_homes_are_made_begins_again(federation, tmp_path):
    out = tmp_path / "run"
    words = ("simulate", federation.study, *federation.pairs(), "--out", out)
    killed("while a home is made", *words)
    assert not (out / "run.json").exists()
    done = cli(*words, "--resume")
    assert done.code == 0, done.err
    assert sorted(path.name for path in (out / "sites").iterdir()) == sorted(SITES)
