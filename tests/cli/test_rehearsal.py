"""`simulate` as a rehearsal: with the records of stewards' homes, and of a plan."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

import fedloom
from fedloom.common.study import load_study
from fedloom.privacy.ledger import read_ledger
from fedloom.privacy.plan import Plan
from fedloom.privacy.resolve import again
from fedloom.server.run_folder import RunFolder
from tests.federation import Federation, Outcome, cli, make, table
from tests.plans import edited
from tests.stewards import init, stewards


def contents(homes: dict[str, Path]) -> dict[str, bytes]:
    files = (file for home in homes.values() for file in home.rglob("*"))
    return {str(file): file.read_bytes() for file in files if file.is_file()}


def at_homes(homes: dict[str, Path]) -> list[str]:
    """The options --site of all homes."""
    return [word for name, home in homes.items() for word in ("--site", f"{name}={home}")]


def test_a_rehearsal_reads_homes_and_leaves_their_ledgers_alone(tmp_path):
    homes = {name: init(tmp_path / "homes", name, rows=90) for name in ("north", "south")}
    federation, before = make(tmp_path / "study"), contents(homes)
    done = federation.simulate(tmp_path / "run", *at_homes(homes), "--json", sites=False)
    assert done.code == 0 and done.json["state"] == "done", done.err
    assert contents(homes) == before
    for name, home in homes.items():
        own = tmp_path / "run" / "sites" / name
        rehearsals = [
            cli("budget", "show", path, "--json").json["rehearsal"] for path in (own, home)
        ]
        assert rehearsals == [True, False]
        assert "commit" in [entry.read().kind for entry in read_ledger(own).entries]


def test_a_home_beside_a_table_keeps_its_own_way_of_writing(tmp_path):
    homes = {"north": init(tmp_path / "homes", "north", rows=90)}
    federation = make(tmp_path / "study")
    table(80).to_csv(federation.data("south"), index=False, sep=";")
    words = [*at_homes(homes), "--site", f"south={federation.data('south')}"]
    done = federation.simulate(tmp_path / "run", *words, "--separator", ";", sites=False)
    assert done.code == 0, done.err


def test_a_home_whose_records_do_not_fit_stops_the_rehearsal(tmp_path):
    homes = {name: init(tmp_path / "homes", name, rows=90) for name in ("north", "south")}
    frame = table(90)
    frame["sex"] = "unheard of"
    frame.to_csv(tmp_path / "homes" / "south-records.csv", index=False)
    done = make(tmp_path / "study").simulate(tmp_path / "run", *at_homes(homes), sites=False)
    assert done.code == 2 and "'sex'" in done.err


@pytest.mark.parametrize("wrong", ["another's", "none"])
def test_a_folder_that_is_not_the_sites_home_is_refused(wrong, tmp_path):
    homes = {name: init(tmp_path / "homes", name, rows=90) for name in ("north", "south")}
    if wrong == "none":
        homes["south"] = tmp_path / "empty"
        homes["south"].mkdir()
    else:
        homes["south"] = homes["north"]
    done = make(tmp_path / "study").simulate(tmp_path / "run", *at_homes(homes), sites=False)
    assert done.code == 2 and str(homes["south"]) in done.err
    assert not (tmp_path / "run" / "plan.json").exists()


def plan_of(federation: Federation) -> Path:
    plan = federation.folder / "plan.json"
    done = cli("study", "check", federation.study, "--out", plan)
    assert done.code == 0, done.err
    return plan


def rehearse(plan: Path, out: Path, *words: str | Path) -> Outcome:
    return cli("simulate", plan, "--out", out, *words)


@pytest.mark.parametrize("model", ["mixture", "weights", "gradients"])
def test_a_plan_is_rehearsed_with_its_noise_and_with_none_of_its_keys(model, tmp_path):
    parties = stewards(tmp_path, model)
    path, before = plan_of(parties.federation), contents(parties.homes)
    done = rehearse(path, tmp_path / "run", *at_homes(parties.homes), "--json")
    assert done.code == 0, done.err
    plan, own = Plan.load(path), RunFolder.open(tmp_path / "run").plan()
    assert done.json["rehearsal_of"] == plan.digest() != own.digest()
    assert own.phases == plan.phases and own.stated_price == plan.stated_price
    for one, other in zip(plan.sites, own.sites, strict=True):
        assert one.name == other.name
        assert {one.key, one.exchange_key}.isdisjoint({other.key, other.exchange_key})
    assert own.coordinator_key not in (None, plan.coordinator_key)
    assert contents(parties.homes) == before


def test_noise_beyond_what_the_budget_asks_for_is_rehearsed_as_it_is(tmp_path):
    federation = make(tmp_path / "study")
    calibrated = Plan.load(plan_of(federation))
    noisier = [
        msgspec.structs.replace(phase, noise_multiplier=2 * phase.noise_multiplier)
        for phase in calibrated.phases
    ]
    noisy = again(*load_study(federation.study), noisier, version=fedloom.__version__)
    path = federation.folder / "noisy.json"
    noisy.save(path)
    done = rehearse(path, tmp_path / "run", *federation.pairs(), "--json")
    assert done.code == 0, done.err
    own = RunFolder.open(tmp_path / "run").plan()
    assert own.phases == noisy.phases != calibrated.phases
    assert done.json["epsilon"] == noisy.stated_price.epsilon < calibrated.stated_price.epsilon


def test_the_rehearsal_of_a_secure_sum_is_one(tmp_path):
    parties = stewards(tmp_path, sites=("north", "south", "west"), trust="secure-sum")
    path = plan_of(parties.federation)
    done = rehearse(path, tmp_path / "run", *at_homes(parties.homes))
    assert done.code == 0, done.err
    own = RunFolder.open(tmp_path / "run").plan()
    assert own.privacy == Plan.load(path).privacy
    assert Plan.load(path).digest()[:12] in done.out


def test_the_rehearsal_of_a_plan_resumes_with_that_plan_and_no_other(tmp_path):
    federation = make(tmp_path / "study")
    path, out = plan_of(federation), tmp_path / "run"
    first = rehearse(path, out, *federation.pairs(), "--json")
    resumed = rehearse(path, out, *federation.pairs(), "--resume", "--json")
    assert (first.code, resumed.code) == (0, 0), first.err + resumed.err
    assert first.json["plan"] == resumed.json["plan"]
    federation.edit("epsilon = 8.0", "epsilon = 7.0")
    other = rehearse(plan_of(federation), out, *federation.pairs(), "--resume")
    assert other.code == 2 and "study changed" in other.err


def test_a_rehearsal_takes_neither_the_coordinators_key_nor_a_stewards_home(tmp_path):
    parties = stewards(tmp_path)
    path, before = plan_of(parties.federation), contents(parties.homes)
    key = ("--coordinator-key", parties.federation.coordinator_key)
    for words in ((*at_homes(parties.homes), *key), parties.words):
        done = rehearse(path, tmp_path / "run", *words)
        assert done.code == 2 and words[-2] in done.err
    after = contents(parties.homes)
    assert not (tmp_path / "run").exists()
    # Nothing is opened or charged; that it was tried is noted.
    assert {path for path in after if after[path] != before.get(path)} == {
        str(home / "audit.jsonl") for home in parties.homes.values()
    }
    for home in parties.homes.values():
        last = (home / "audit.jsonl").read_text().splitlines()[-1]
        assert json.loads(last)["exit_code"] == 2


def test_a_plan_that_is_none_is_refused_by_name(tmp_path):
    federation = make(tmp_path / "study")
    plan = Plan.load(plan_of(federation))
    noise = 2 * plan.phases[0].noise_multiplier
    forged = federation.folder / "forged.json"
    edited(plan, ("phases", 0, "noise_multiplier"), noise).save(forged)
    empty = federation.folder / "empty.json"
    empty.write_text("{}")
    for path in (forged, empty):
        done = rehearse(path, tmp_path / "run", *federation.pairs())
        assert done.code == 2 and str(path) in done.err
        assert not (tmp_path / "run").exists()
