"""From private tables to evidence, through the command line alone, and what forging it takes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest

from fedloom.common.messages import Answer, arrays_digest
from fedloom.privacy.answers.files import part_path
from fedloom.privacy.plan import Plan
from tests.federation import cli, make

NAMES = ("east", "north", "south", "west")
CASES = {
    "gradients": ("secure-sum", "[evaluation]\nshare = 0.2\nhold_back = 0.3\n"),
    "weights": ("per-site", ""),
}


@pytest.fixture(scope="module", params=list(CASES))
def _released(request, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    trust, more = CASES[request.param]
    federation = make(folder / "study", request.param, sites=NAMES, trust=trust, more=more)
    assert federation.simulate(folder / "run").code == 0
    words = ("release", "build", folder / "run", "--out", folder / "release")
    built = cli(*words, "--evidence", folder / "evidence")
    assert built.code == 0 and f"--evidence {folder / 'evidence'}" in built.out
    return folder


@pytest.fixture
def released(_released: Path, tmp_path: Path) -> Path:
    """A fresh copy of release and evidence, without the sites' homes."""
    for name in ("release", "evidence"):
        shutil.copytree(_released / name, tmp_path / name)
    return tmp_path


def failed_in(folder: Path) -> set[str]:
    words = ("release", "verify", folder / "release", "--evidence", folder / "evidence", "--json")
    result = cli(*words)
    assert result.code == (0 if result.json["ok"] else 4)
    return {check["name"] for check in result.json["checks"] if check["ok"] is False}


def test_real_sites_evidence_verifies(released):
    assert failed_in(released) == set()
    plan = Plan.load(released / "release" / "plan.json")
    for asked in plan.rounds:
        assert part_path(released / "evidence", asked.round, "west").exists()
    queries = {asked.query for asked in plan.rounds}
    assert queries in ({"statistic", "gradient", "evaluate"}, {"statistic", "train"})
    table = pd.read_parquet(released / "release" / "answers" / "marginals.parquet")
    counts = table[table["kind"] == "class"]
    error = counts["count"].sum() - 806 * (1.0 if "train" in queries else 0.7)
    assert abs(error) < 6 * float(counts["std"].iloc[0]) * len(counts) ** 0.5 + 100


@pytest.mark.parametrize("attack", ["value", "swap", "drop", "other round", "extra"])
def test_forged_evidence_of_training_rounds_is_seen(released, attack):
    """Rounds of training have no sum in the release; the ledgers hold their parts all the same."""
    number = 3
    east, west = (part_path(released / "evidence", number, site) for site in ("east", "west"))
    if attack == "value":
        part = Answer.unpack(east.read_bytes())
        arrays = {name: np.zeros_like(array) for name, array in part.arrays.items()}
        header = msgspec.structs.replace(part.header, arrays_digest=arrays_digest(arrays))
        east.write_bytes(Answer(header=header, arrays=arrays, signature=part.signature).pack())
    elif attack == "swap":
        data = east.read_bytes(), west.read_bytes()
        east.write_bytes(data[1])
        west.write_bytes(data[0])
    elif attack == "drop":
        shutil.rmtree(east.parent)
    elif attack == "other round":
        shutil.copy(part_path(released / "evidence", 2, "east"), east)
    else:
        shutil.copy(east, east.with_name("zurich.safetensors"))
    assert failed_in(released) == {"evidence"}


def test_a_run_without_one_ledger_makes_no_release(_released, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(_released / "run", run, ignore=shutil.ignore_patterns("sites"))
    (run / "extracts" / "west.json").unlink()
    built = cli("release", "build", run, "--out", tmp_path / "again")
    assert built.code == 4 and "west" in built.err


def test_the_statement_says_what_the_public_sees(released):
    statement = json.loads((released / "release" / "dp_statement.json").read_text("utf-8"))
    codes = {line["code"] for line in statement["assumptions"]}
    towards = {party: entry["noise"] for party, entry in statement["towards"].items()}
    if statement["trust_model"]["mode"] == "per-site":
        assert set(towards.values()) == {1.0} and "sums-as-opened" not in codes
    else:
        assert towards["public"] == pytest.approx((4 / 3) ** 0.5) and "sums-as-opened" in codes
