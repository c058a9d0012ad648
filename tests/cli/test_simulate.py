from __future__ import annotations

import io
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from fedloom.cli.progress import RunProgress
from fedloom.privacy.ledger import read_ledger
from fedloom.server.run_folder import RunFolder
from tests.federation import cli, make, table

ROOT = Path(__file__).resolve().parents[2]


def test_a_run_tells_its_price_and_what_can_be_done_with_it(tmp_path):
    done = make(tmp_path / "study", "weights").simulate(tmp_path / "run")
    assert done.code == 0, done.err
    for words in ("at delta 0.001", "2 sites", "fedloom sample", "fedloom release build"):
        assert words in done.out
    for words in ("Warning: ", "round 3 of 3", "2 of 2 sites answered", " of 8 spent", " left"):
        assert words in done.err


def test_json_is_all_that_is_printed(tmp_path):
    done = make(tmp_path / "study").simulate(tmp_path / "run", "--json")
    assert done.code == 0 and done.err == ""
    assert set(done.json) >= {"run", "state", "epsilon", "epsilon_rdp", "delta", "sites", "plan"}


def test_a_finished_run_resumes_to_itself(tmp_path):
    federation = make(tmp_path / "study")
    first = federation.simulate(tmp_path / "run", "--json")
    again = federation.simulate(tmp_path / "run", "--resume", "--json")
    assert (first.code, again.code) == (0, 0)
    assert again.json["plan"] == first.json["plan"]
    entries = read_ledger(tmp_path / "run" / "sites" / "north").entries
    assert [entry.read().kind for entry in entries].count("commit") == 2


def test_resume_without_a_run_begins_one(tmp_path):
    assert make(tmp_path / "study").simulate(tmp_path / "run", "--resume").code == 0


def test_ctrl_c_ends_with_130_and_the_run_resumes(tmp_path):
    federation = make(tmp_path / "study", "gradients")
    federation.edit("num_rounds = 3", "num_rounds = 30")
    words = ["simulate", str(federation.study), *federation.pairs(), "--out", str(tmp_path / "run")]
    process = subprocess.Popen(
        [sys.executable, "-m", "fedloom", *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    metrics = tmp_path / "run" / "metrics.jsonl"
    deadline = time.monotonic() + 60
    while not (metrics.exists() and metrics.read_text().count("\n") >= 3):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "Interrupted" in err and "Traceback" not in err
    resumed = federation.simulate(tmp_path / "run", "--resume", "--json")
    assert resumed.code == 0, resumed.err
    for site in federation.sites:
        entries = read_ledger(tmp_path / "run" / "sites" / site).entries
        assert [entry.read().kind for entry in entries].count("commit") == 31
    rounds = [line["round"] for line in RunFolder.open(tmp_path / "run").metrics()]
    assert rounds == list(range(1, 32))


def test_a_terminal_shows_round_sites_and_budget(tmp_path):
    federation = make(tmp_path / "study", "weights")
    cli("study", "check", federation.study, "--out", tmp_path / "plan.json")
    from fedloom.privacy.plan import Plan

    screen = io.StringIO()
    progress = RunProgress()
    progress._console = Console(file=screen, force_terminal=True, width=100, color_system=None)
    progress._progress.live.console = progress._console
    with progress:
        progress.plan(Plan.load(tmp_path / "plan.json"))
        progress({"event": "start", "sites": ["north", "south"], "rounds": 3})
        progress({"event": "dropped", "site": "south", "reason": "silence"})
        progress(
            {
                "event": "round",
                "round": 2,
                "rounds": 3,
                "query": "train",
                "sites": ["north"],
                "epsilon": {"north": 5.25, "south": 2.5},
                "distance": 0.125,
            }
        )
    shown = screen.getvalue()
    for words in (
        "Warning: ",
        "site south: no usable answer: silence",
        "round 2 of 3",
        "left of 8",
        "5.250",
        "2.750",
        "no answer",
        "0.125",
    ):
        assert words in shown, words


@pytest.mark.parametrize("columns", [["age"], ["visited"], ["age", "visited"]], ids="+".join)
def test_a_column_and_a_label_are_a_table_and_so_is_a_column(columns, tmp_path):
    """What `study check` gives a digest for runs, down to a single column."""
    folder = tmp_path / "study"
    federation = make(folder, sites=("north", "south", "west"), trust="secure-sum")
    parts = (folder / "schema.toml").read_text().split("[[column]]")
    kept = [part for part in parts if any(f'"{name}"' in part for name in columns)]
    (folder / "schema.toml").write_text("[[column]]" + "[[column]]".join(kept))
    if len(columns) < 2:
        federation.edit('target = "visited"\n', "")
    assert cli("study", "check", federation.study).code == 0
    done = federation.simulate(tmp_path / "run", "--json")
    assert done.code == 0 and done.json["state"] == "done", done.err
    out = tmp_path / "rows.csv"
    assert cli("sample", tmp_path / "run", "--rows", 200, "--seed", 1, "--out", out).code == 0
    sampled, real = pd.read_csv(out), table(200)
    assert list(sampled.columns) == columns
    if "visited" in columns:
        shares = [(frame["visited"] == "yes").mean() for frame in (sampled, real)]
        assert abs(shares[0] - shares[1]) < 0.2
    release = tmp_path / "release"
    assert cli("release", "build", tmp_path / "run", "--out", release).code == 0
    assert cli("release", "verify", release).code == 0
