"""From a raw table to a learned schema, and from that to a release, in the same homes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fedloom.client.home import Home
from fedloom.common.schema import Schema
from fedloom.privacy.ledger import read_ledger
from fedloom.server.learned_schema import LearnedSchema
from tests.federation import Outcome, cli

OPEN = """
[[column]]
name = "fee"
kind = "real"
bounds = "private"

[[column]]
name = "town"
kind = "category"
values = "private"

[[column]]
name = "visited"
kind = "category"
values = ["no", "yes"]
"""
SITES = ("east", "north", "south")


def study(path: Path, schema: str, model: str, epsilon: float, sites: tuple[str, ...]) -> Path:
    head = f'[study]\nname = "{path.stem}"\nschema = "{schema}"\n'
    budget = f"[privacy]\nepsilon = {epsilon}\ndelta = 1e-5\n"
    entries = "".join(f'[[site]]\nname = "{site}"\n' for site in sites)
    path.write_text(f"{head}{budget}[model]\n{model}\n{entries}")
    return path


def make(folder: Path, sites: tuple[str, ...] = SITES, rows: int = 3000) -> list[str]:
    """Writes the open schema, the study that learns it, and tables; returns the options --site."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "schema.toml").write_text(OPEN)
    study(folder / "learn.toml", "schema.toml", 'kind = "schema"', 2.0, sites)
    options = []
    for number, site in enumerate(sites):
        rng = np.random.default_rng(number)
        fee = rng.gamma(3.0, 80.0, rows)
        pd.DataFrame(
            {
                "fee": fee.round(2),
                "town": rng.choice(
                    ["Dayton", "Seattle", "Rare " + site], rows, p=[0.6, 0.398, 0.002]
                ),
                "visited": np.where(fee > 200, "yes", "no"),
            }
        ).to_csv(folder / f"{site}.csv", index=False)
        options += ["--site", f"{site}={folder / site}.csv"]
    return options


def learn(folder: Path, options: list[str], *more: str) -> Outcome:
    words = [*options, "--out", str(folder / "run"), *more]
    return cli("schema", "learn", folder / "learn.toml", *words)


@pytest.mark.parametrize("sites", [SITES, SITES[:2]], ids=["secure-sum", "per-site"])
def test_a_learned_schema_serves_a_second_study_and_both_are_paid_for(
    tmp_path: Path, sites: tuple[str, ...]
) -> None:
    options = make(tmp_path, sites)
    done = learn(tmp_path, options, "--limit", "5", "--json")
    assert done.code == 0, done.err
    assert done.json["epsilon"] <= 2.0
    schema = Schema.load(done.json["schema"])
    assert schema.column("town").values == ("Dayton", "Seattle")
    assert schema.learned[0].plan == done.json["plan"]
    assert schema.learned[0].columns == ("fee", "town")
    homes = [word for s in sites for word in ("--home", f"{s}={tmp_path / 'run' / 'sites' / s}")]
    model = 'kind = "mixture"\ncomponents = 8'
    second = study(tmp_path / "second.toml", "run/schema.toml", model, 2.0, sites)
    out = tmp_path / "run2"
    # Noise decides how many of the fees lie outside: no more than half, maybe more than a few.
    accepted = ("--clamp", "--clamp-column", "fee", "--clamp-column", "town")
    done = cli("simulate", second, *options, *homes, "--out", out, *accepted, "--json")
    assert done.code == 0, done.err
    shown = cli("budget", "show", tmp_path / "run" / "sites" / "east", "--json").json
    assert 2.0 < shown["epsilon_spent"] < 4.0
    assert cli("ledger", "verify", tmp_path / "run" / "sites" / "east").code == 0
    release = tmp_path / "release"
    assert cli("release", "build", out, "--out", release).code == 0
    verified = cli("release", "verify", release)
    assert verified.code == 0 and "by an earlier study: with it, epsilon" in verified.out
    assert "earlier one: both together cost" in " ".join(
        (release / "README.md").read_text().split()
    )
    assert "were learned from records" in (release / "codebook.md").read_text()
    sample = pd.read_csv(release / "data" / "synthetic.csv")
    assert set(sample["town"]) <= {"Dayton", "Seattle", "(other)"}


def test_what_the_command_says(tmp_path: Path) -> None:
    options = make(tmp_path)
    checked = cli("study", "check", tmp_path / "learn.toml")
    assert "from a stretch of" in checked.out and "1 of discovery counts" in checked.out
    done = learn(tmp_path, options)
    assert done.code == 0, done.err
    for words in ("Dayton", "Seattle", "price: epsilon 2", "schema, to look through", "20%", "80%"):
        assert words in done.out
    again = learn(tmp_path, options, "--resume", "--json")
    assert again.code == 0
    assert again.json["schema_digest"] == LearnedSchema.load(tmp_path / "run").schema.digest()
    entries = read_ledger(tmp_path / "run" / "sites" / "north").entries
    assert [entry.read().kind for entry in entries].count("commit") == 1
    for command in (
        ("sample", tmp_path / "run", "--rows", "5", "--out", tmp_path / "rows.csv"),
        ("release", "build", tmp_path / "run", "--out", tmp_path / "release"),
    ):
        refused = cli(*command)
        assert refused.code == 2 and "completed a schema" in refused.err
    (tmp_path / "learn.toml").write_text(
        (tmp_path / "learn.toml").read_text().replace('"schema"\n', '"mixture"\n')
    )
    refused = learn(tmp_path, options, "--resume")
    assert refused.code == 2 and "a study of its own" in " ".join(refused.err.split())


def test_too_few_records_are_told_as_such(tmp_path: Path) -> None:
    done = learn(tmp_path, make(tmp_path, rows=4), "--json")
    assert done.code == 0, done.err
    assert [entry["complete"] for entry in done.json["columns"]] == [False, False]
    assert Schema.load(done.json["schema"]).names == ("visited",)
    assert "Left out: column 'fee'" in Path(done.json["schema"]).read_text()


def test_the_run_folder_tells_nothing_of_single_sites(tmp_path: Path) -> None:
    done = learn(tmp_path, make(tmp_path))
    assert done.code == 0, done.err
    for path in (tmp_path / "run").rglob("*"):
        if path.is_file() and "sites" not in path.parts:
            assert b"Rare " not in path.read_bytes()


def test_stewards_read_what_is_learned_and_approve_by_hand(tmp_path: Path) -> None:
    """Two stewards' own homes, whose policies allow the study; one that does not refuses."""
    make(tmp_path, SITES[:2])
    homes, keys = {}, ""
    for site in SITES[:2]:
        homes[site] = tmp_path / f"home-{site}"
        words = ("--name", site, "--epsilon", "5", "--delta", "1e-5")
        data = ("--data", tmp_path / f"{site}.csv")
        assert cli("site", "init", "--home", homes[site], *words, *data).code == 0
        home = Home.open(homes[site])
        keys += f'[[site]]\nname = "{site}"\nkey = "{home.public_key()}"\n'
        keys += f'exchange-key = "{home.exchange_public_key()}"\n'
    text = (tmp_path / "learn.toml").read_text()
    made = cli("coordinator", "keygen", tmp_path / "me.key")
    text = text[: text.index("[[site]]")] + made.out + keys
    (tmp_path / "learn.toml").write_text(text)
    plan = tmp_path / "plan.json"
    assert cli("study", "check", tmp_path / "learn.toml", "--out", plan).code == 0
    shown = cli("site", "plan", plan, "--home", homes["east"])
    assert "completes the schema: fee, town" in shown.out
    for site in SITES[:2]:
        approved = cli("site", "approve", plan, "--home", homes[site], "--yes")
        assert approved.code == 0, approved.err
    options = [word for s in SITES[:2] for word in ("--home", f"{s}={homes[s]}")]
    done = learn(tmp_path, options, "--coordinator-key", str(tmp_path / "me.key"), "--json")
    assert done.code == 0, done.err
    assert Schema.load(done.json["schema"]).column("town").values == ("Dayton", "Seattle")
