"""A study whose unit is a person, from tables with ids to a release."""

from __future__ import annotations

import json

import pandas as pd
import pytest

import fedloom
from fedloom.privacy.ledger import read_ledger
from tests.federation import Federation, cli, make

PERSONS = 'unit = "person"\nid = "patient"\nrows_per_person = 2\n'


def of_persons(folder, model: str, trust: str) -> Federation:
    """Three sites, at each about sixty people of one to three rows."""
    federation = make(folder, model, sites=("east", "north", "west"), trust=trust, rows=120)
    federation.edit("delta = 1e-3\n", "delta = 1e-3\n" + PERSONS)
    for site in federation.sites:
        frame = pd.read_csv(federation.data(site))
        frame.insert(0, "patient", [f"{site}-{row // 3 * 2 + row % 3 % 2}" for row in frame.index])
        frame.to_csv(federation.data(site), index=False)
    return federation


@pytest.mark.parametrize(
    ("model", "trust"),
    [
        ("mixture", "per-site"),
        ("gradients", "secure-sum"),
        pytest.param("mixture", "secure-sum", marks=pytest.mark.slow),
        pytest.param("gradients", "per-site", marks=pytest.mark.slow),
        pytest.param("weights", "per-site", marks=pytest.mark.slow),
    ],
)
def test_a_study_of_persons_ends_in_a_release_that_says_so(tmp_path, model, trust):
    federation = of_persons(tmp_path / "study", model, trust)
    done = federation.simulate(tmp_path / "run", "--json")
    assert done.code == 0, done.err
    release = fedloom.Run(tmp_path / "run").release(tmp_path / "release")
    assert fedloom.verify(release).ok
    rows = pd.read_csv(next(release.glob("**/*.csv")))
    assert list(rows.columns) == ["age", "sex", "visited"]
    assert "person" in (release / "dp_statement.json").read_text()
    for path in release.rglob("*"):
        assert path.is_dir() or b"east-1" not in path.read_bytes()
    for site in federation.sites:
        shown = read_ledger(tmp_path / "run" / "sites" / site).budget()
        assert (shown["unit"], shown["id"]) == ("person", "patient")


def test_tables_without_ids_are_refused_and_rows_without_one_only_left_out_on_demand(tmp_path):
    federation = of_persons(tmp_path / "study", "mixture", "per-site")
    path = federation.data("north")
    frame = pd.read_csv(path)
    frame["patient"] = frame["patient"].where(frame.index > 3)
    frame.to_csv(path, index=False)
    refused = federation.simulate(tmp_path / "refused")
    assert refused.code == 2 and "4 rows have no id, and could be anyone's" in refused.err
    assert federation.simulate(tmp_path / "more", "--clamp").code == 2
    named = ("--clamp", "--clamp-column", "patient")
    assert federation.simulate(tmp_path / "clamped", *named).code == 0
    frame.drop(columns="patient").to_csv(path, index=False)
    absent = federation.simulate(tmp_path / "absent")
    assert absent.code == 2 and "no column 'patient'" in absent.err


def test_a_home_for_persons_refuses_a_plan_for_records(tmp_path):
    federation = of_persons(tmp_path / "study", "mixture", "per-site")
    assert federation.simulate(tmp_path / "first").code == 0
    homes = [
        word
        for site in federation.sites
        for word in ("--home", f"{site}={tmp_path / 'first' / 'sites' / site}")
    ]
    federation.edit(PERSONS, "")
    second = federation.simulate(tmp_path / "second", *homes)
    assert second.code == 3
    assert (
        "this home's is a person (by 'patient')" in second.err and "Ask for a study" in second.err
    )
    shown = cli("budget", "show", tmp_path / "first" / "sites" / "east", "--json")
    assert json.loads(shown.out)["unit"] == "person"
