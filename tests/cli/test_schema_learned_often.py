"""A schema that was learned several times, of which one was kept, costs what all of them cost."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from fedloom.common.schema import Schema
from fedloom.privacy.ledger import read_ledger
from fedloom.privacy.plan import Plan
from fedloom.privacy.release.verify import inspection
from tests.federation import Outcome, cli
from tests.stewards import init, keys_of
from tests.tampering import failed

SITES = ("north", "south")
OPEN = """
[[column]]
name = "age"
kind = "integer"
bounds = "private"

[[column]]
name = "sex"
kind = "category"
values = "private"

[[column]]
name = "visited"
kind = "category"
values = ["no", "yes"]
"""
LEARNED = 4
# Noise decides how many ages lie outside of the learned bounds.
CLAMP = ("--clamp", "--clamp-column", "age")


class Consortium:
    """Two stewards who let a schema be learned, and then a study on it be run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.homes = {site: init(folder / "homes", site, rows=4000, epsilon=30.0) for site in SITES}
        (folder / "open.toml").write_text(OPEN)
        self.entry = cli("coordinator", "keygen", folder / "coordinator.key").out
        self.learning = self._study("learn", "open.toml", 'kind = "schema"', 2.0)

    def _study(self, name: str, schema: str, model: str, epsilon: float) -> Path:
        head = f'[study]\nname = "{name}"\nschema = "{schema}"\n'
        budget = f"[privacy]\nepsilon = {epsilon}\ndelta = 1e-4\n[model]\n{model}\n"
        entries = self.entry
        for site, home in self.homes.items():
            key, exchange = keys_of(home)
            entries += f'[[site]]\nname = "{site}"\nkey = "{key}"\nexchange-key = "{exchange}"\n'
        path = self.folder / f"{name}.toml"
        path.write_text(head + budget + entries)
        return path

    def approve(self, study: Path, *more: str) -> list[Outcome]:
        return [
            cli("site", "approve", study, "--home", home, "--yes", *more)
            for home in self.homes.values()
        ]

    def learn_often(self) -> list[Path]:
        """Learns four times, each time approved; returns the schemas that came of it."""
        schemas = []
        for number in range(LEARNED):
            assert {done.code for done in self.approve(self.learning)} == {0}
            out = self.folder / f"learned-{number}"
            done = cli("schema", "learn", self.learning, *self._homes(), "--out", out)
            assert done.code == 0, done.err
            schemas.append(out / "schema.toml")
        return schemas

    def study_on(self, schema: Path) -> Path:
        name = str(schema.relative_to(self.folder))
        return self._study("study", name, 'kind = "mixture"\ncomponents = 8', 1.0)

    def simulate(self, study: Path, out: Path) -> Outcome:
        return cli("simulate", study, *self._homes(), "--out", out)

    def _homes(self) -> list[str]:
        homes = [word for site, home in self.homes.items() for word in ("--home", f"{site}={home}")]
        return [*homes, "--coordinator-key", str(self.folder / "coordinator.key")]


@pytest.fixture
def consortium(tmp_path: Path) -> Consortium:
    return Consortium(tmp_path)


def price_of(consortium: Consortium, runs: int) -> float:
    return Plan.load(consortium.folder / "learned-0" / "plan.json").price(runs).epsilon


def test_each_schema_states_all_runs_so_far(consortium: Consortium) -> None:
    for number, path in enumerate(consortium.learn_often(), start=1):
        origin = Schema.load(path).learned[0]
        assert (origin.runs, origin.epsilon) == (number, price_of(consortium, number))


def test_a_schema_at_the_price_of_one_of_four_runs_is_not_approved(consortium: Consortium) -> None:
    study = consortium.study_on(consortium.learn_often()[0])
    entries = [len(read_ledger(home).entries) for home in consortium.homes.values()]
    cost = price_of(consortium, LEARNED)
    for refused in consortium.approve(study, *CLAMP):
        assert refused.code == 2
        assert f"runs = {LEARNED} and epsilon = {cost!r}" in refused.err
    assert entries == [len(read_ledger(home).entries) for home in consortium.homes.values()]


def test_a_release_on_it_states_the_price_of_all_runs(
    consortium: Consortium, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The remedy that the refusal names: the coordinator corrects the two numbers."""
    schema, cost = consortium.learn_often()[0], price_of(consortium, LEARNED)
    text = re.sub(r"runs = \d+", f"runs = {LEARNED}", schema.read_text())
    schema.write_text(re.sub(r"epsilon = [\d.]+", f"epsilon = {cost!r}", text))
    study = consortium.study_on(schema)
    assert {done.code for done in consortium.approve(study, *CLAMP)} == {0}
    assert consortium.simulate(study, tmp_path / "run").code == 0
    release = tmp_path / "release"
    assert cli("release", "build", tmp_path / "run", "--out", release).code == 0
    statement = json.loads((release / "dp_statement.json").read_text())
    assert statement["with_the_schema"]["epsilon"] == pytest.approx(statement["epsilon"] + cost)
    for site in statement["sites"].values():
        assert site["learned"] == [
            {
                "plan": Schema.load(schema).learned[0].plan,
                "runs": LEARNED,
                "epsilon": pytest.approx(cost),
            }
        ]
    assert not failed(capsys, release)


@pytest.fixture
def without_a_check_at_the_sites(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stewards whose software does not hold the schema's price against their ledgers."""
    monkeypatch.setattr("fedloom.client.approval.check_learned", lambda ledger, plan: None)


Build = Callable[[], Outcome]


@pytest.fixture
def build(consortium: Consortium, tmp_path: Path, without_a_check_at_the_sites: None) -> Build:
    """Builds a release on the first of four schemas, which states the price of one run."""
    study = consortium.study_on(consortium.learn_often()[0])
    assert {done.code for done in consortium.approve(study, *CLAMP)} == {0}
    assert consortium.simulate(study, tmp_path / "run").code == 0
    return lambda: cli("release", "build", tmp_path / "run", "--out", tmp_path / "release")


def test_verification_finds_a_schema_at_a_quarter_of_its_price(build: Build) -> None:
    done = build()
    assert done.code == 4 and "learned" in done.err and f"{LEARNED} run(s)" in done.err


def test_a_verifier_that_believes_the_schema_would_be_found(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The twin of the test above: nothing else in a verification sees the missing price."""
    with monkeypatch.context() as broken:
        broken.setattr(inspection, "check_learned_prices", lambda plan, accounts: "believed")
        assert build().code == 0
    verified = cli("release", "verify", tmp_path / "release", "--json")
    assert verified.code == 4
    assert [one["name"] for one in verified.json["checks"] if one["ok"] is False] == ["learned"]
