"""Verification of a release made by a secure sum, with an evaluation: what lies is seen."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace
from typing import Any

import pytest

from fedloom.privacy.keys import generate_key, load_private_key, public_key_hex
from fedloom.privacy.plan import Plan
from fedloom.privacy.release import build_release
from tests.site_numbers import numbers_by_site, numbers_of_sites
from tests.tampering import edit, failed, manifest_of, sign_again


@pytest.fixture(scope="module")
def _secure(tmp_path_factory: pytest.TempPathFactory, fake: SimpleNamespace) -> SimpleNamespace:
    folder = tmp_path_factory.mktemp("secure")
    keys = {name: generate_key(folder / f"{name}.pem") for name in fake.MORE_SITES}
    plan = fake.make_secure_plan({name: public_key_hex(key) for name, key in keys.items()})
    run = fake.write_run(folder / "run", plan, keys)
    build_release(run, folder / "release", seed=9)
    return SimpleNamespace(folder=folder, keys=keys, plan=plan)


@pytest.fixture
def secure(_secure: SimpleNamespace, tmp_path: Any) -> SimpleNamespace:
    """A fresh copy of the run and its release."""
    folder = tmp_path / "secure"
    shutil.copytree(_secure.folder, folder)
    return SimpleNamespace(
        run=folder / "run",
        release=folder / "release",
        coordinator=load_private_key(folder / "run" / "coordinator.key"),
        keys=_secure.keys,
        plan=_secure.plan,
    )


def forge(secure: SimpleNamespace, **changes: Any) -> None:
    sign_again(secure.release, secure.coordinator, **changes)


def test_an_honest_release_verifies_and_says_what_was_checked(secure, capsys):
    assert failed(capsys, secure.release) == set()
    statement = json.loads((secure.release / "dp_statement.json").read_text("utf-8"))
    assert statement["trust_model"]["mode"] == "secure-sum"
    report = (secure.release / "report.html").read_text("utf-8")
    assert "On held-back records" in report and "towards\n        the public" in report
    assert (secure.release / "evaluation.json").exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda e: e["figures"]["questions"][0]["held_back"].update(auc=0.99),
        lambda e: e["figures"]["questions"][0]["held_back"].update(std=0.0001),
        lambda e: e["figures"]["columns"][0].update(distance=0.0),
        lambda e: e["figures"]["records"].update(estimate=9000.0),
        lambda e: e["held_back"]["marginals"].pop(),
        lambda e: e.update(hold_back=0.5),
        lambda e: e["noise_std"].update(scores=0.001),
        lambda e: e.pop("figures"),
        lambda e: e.clear(),
    ],
)
def test_an_evaluation_that_says_more_than_its_histograms_is_seen(secure, capsys, change):
    edit(secure.release / "evaluation.json", change)
    forge(secure)
    assert "evaluation" in failed(capsys, secure.release)


def test_less_noise_with_figures_to_match_is_seen(secure, capsys):
    """The publisher states a tenth of the noise, and error bars that follow from it."""
    from fedloom.privacy.held_back import figures_of

    def change(record: dict[str, Any]) -> None:
        record["noise_std"] = {name: std / 10 for name, std in record["noise_std"].items()}
        record["figures"] = figures_of(record, secure.plan.encoding)

    edit(secure.release / "evaluation.json", change)
    forge(secure)
    assert failed(capsys, secure.release) == {"evaluation"}


def test_an_evaluation_that_is_missing_or_that_nobody_planned_is_seen(secure, built, capsys):
    shutil.copy(secure.release / "evaluation.json", built.release / "evaluation.json")
    sign_again(built.release, built.coordinator)
    assert "evaluation" in failed(capsys, built.release)
    (secure.release / "evaluation.json").unlink()
    forge(secure)
    assert "evaluation" in failed(capsys, secure.release)


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s["towards"]["public"].update(epsilon=s["towards"]["public"]["epsilon"] * 0.9),
        lambda s: s["towards"]["public"].update(noise=2.0),
        lambda s: s["towards"]["fellow_site"].update(epsilon=0.1),
        lambda s: s["trust_model"].update(colluding=2),
        lambda s: s["trust_model"].update(least_roster=2),
        lambda s: s["mechanisms"][0].update(grid_step=2.0),
        lambda s: s["mechanisms"][-1].update(noise_std=1e9),
        lambda s: s["assumptions"].pop(),
        lambda s: s["held_back"].update(chance=0.0),
        lambda s: s["failure_and_retry"]["spare_rounds"].update({"one-way": 0}),
        lambda s: s["claim"].update(colluding=3),
        lambda s: s["assumptions"][-2].update(colluding=0),
    ],
)
def test_numbers_towards_each_party_are_computed_again(secure, capsys, change):
    edit(secure.release / "dp_statement.json", change)
    forge(secure)
    assert "epsilon" in failed(capsys, secure.release)


def test_a_plan_with_another_exchange_key_is_seen(secure, capsys):
    """Whoever put another key into the plan would sit between two sites: stewards signed others."""
    body = json.loads((secure.release / "plan.json").read_text("utf-8"))
    body["sites"][0]["exchange-key"] = "1" * 64
    plan = Plan.from_dict(body)
    plan.save(secure.release / "plan.json")
    forge(secure, plan=plan.digest())
    assert {"ledger east", "ledgers"} <= failed(capsys, secure.release)


@pytest.mark.parametrize(
    "attempts, complaint",
    [
        ({1: {1: "e" * 64}}, "different requests"),
        ({2: {2: "b" * 64}}, "answered by 1 sites"),
    ],
)
def test_rosters_that_cannot_have_opened_are_seen(secure, capsys, fake, attempts, complaint):
    extract = fake.make_extract(secure.keys["east"], secure.plan, "east", attempts=attempts)
    (secure.release / "ledger" / "east.json").write_text(json.dumps(extract), "utf-8")
    ledgers = dict(manifest_of(secure.release)["ledgers"])
    last = extract["entries"][-1]
    ledgers["east"] = {**ledgers["east"], "seq": last["seq"], "hash": last["hash"]}
    forge(secure, ledgers=ledgers)
    assert "sums" in failed(capsys, secure.release)


def test_nothing_in_run_and_release_is_about_one_site_s_records(secure):
    """Names of sites stand beside keys, ledgers and prices, never beside a count or a marginal."""
    assert numbers_by_site([secure.run, secure.release], secure.keys) == set()


def test_a_number_of_one_site_would_be_found():
    leaky = {"rounds": [{"sites": {"east": {"records": 812}}}]}
    assert numbers_of_sites(leaky, ("east",)) == [("rounds", "sites", "east", "records")]
