"""A coordinator who runs an approved plan again and again gets what was approved, and no more."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fedloom.privacy.keys import load_private_key
from fedloom.privacy.ledger import Grant
from fedloom.privacy.plan import Plan
from tests.federation import cli
from tests.stewards import Stewards, stewards
from tests.tampering import edit, failed, sign_again


@pytest.fixture
def consortium(tmp_path: Path) -> Stewards:
    """Two stewards with room for many studies of epsilon 1; nothing is approved."""
    return stewards(tmp_path)


def plan_of(run: Path) -> Plan:
    return Plan.load(run / "plan.json")


def spent(consortium: Stewards) -> dict[str, float]:
    return {site: consortium.budget(site)["epsilon_spent"] for site in consortium.homes}


def run_again_and_again(consortium: Stewards, tmp_path: Path) -> None:
    """Three runs of a plan that was approved for one."""
    consortium.approve()
    for number in range(3):
        consortium.simulate(tmp_path / f"run-{number}")


def check_one_run(consortium: Stewards, tmp_path: Path) -> None:
    price = plan_of(tmp_path / "run-0").price().epsilon
    for site in consortium.homes:
        assert consortium.kinds(site).count("commit") == 2  # the plan's two rounds
        assert consortium.budget(site)["epsilon_spent"] <= price <= 1.0


def test_one_approval_is_one_run(consortium: Stewards, tmp_path: Path) -> None:
    run_again_and_again(consortium, tmp_path)
    check_one_run(consortium, tmp_path)


def test_an_approval_that_is_never_used_up_would_be_found(
    consortium: Stewards, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The twin: a ledger that asks only whether the run's name is new, as it once did."""
    with monkeypatch.context() as broken:
        broken.setattr(Grant, "left", 1)
        run_again_and_again(consortium, tmp_path)
        with pytest.raises(AssertionError):
            check_one_run(consortium, tmp_path)
        assert consortium.kinds("north").count("commit") == 6
    verified = cli("ledger", "verify", consortium.homes["north"])
    assert verified.code == 4 and "was for one run" in verified.err


def test_a_further_run_is_refused_until_it_is_approved(
    consortium: Stewards, tmp_path: Path
) -> None:
    consortium.approve()
    assert consortium.simulate(tmp_path / "one").code == 0
    entries, cost = consortium.everything(), spent(consortium)
    refused = consortium.simulate(tmp_path / "two")
    assert refused.code == 3
    assert "nothing was spent" in refused.err and "1 run" in refused.err
    assert f"fedloom site approve {tmp_path / 'two' / 'plan.json'} --home" in refused.err
    assert (consortium.everything(), spent(consortium)) == (entries, cost)
    consortium.approve()
    done = consortium.simulate(tmp_path / "two", "--resume", "--json")
    assert done.code == 0, done.err
    assert done.json["runs"] == 2
    for site in consortium.homes:
        assert consortium.kinds(site).count("commit") == 4
        assert spent(consortium)[site] > cost[site]


def test_a_site_that_refuses_costs_no_other_its_approval(
    consortium: Stewards, tmp_path: Path
) -> None:
    """North reserves, south has approved nothing: north's run ends unanswered and is given back."""
    consortium.approve(sites=("north",))
    refused = consortium.simulate(tmp_path / "run")
    assert refused.code == 3 and "nothing was spent" in refused.err
    assert consortium.kinds("north") == ["genesis", "approve", "reserve", "finish"]
    rows = consortium.budget("north")["studies"]
    assert [(row["status"], row["runs"]) for row in rows] == [("given back", 1), ("approved", 1)]
    consortium.approve(sites=("south",))
    assert consortium.simulate(tmp_path / "run", "--resume").code == 0


def test_the_steward_is_told_the_number_and_the_price_of_all_runs(
    consortium: Stewards, tmp_path: Path
) -> None:
    study, home = consortium.federation.study, consortium.homes["north"]
    assert cli("study", "check", study, "--out", tmp_path / "plan.json").code == 0
    plan = Plan.load(tmp_path / "plan.json")
    for runs in (1, 3):
        told = cli("site", "plan", study, "--home", home, "--runs", runs)
        assert told.code == 0, told.err
        assert f"epsilon {plan.price(runs).epsilon:.4g} at delta 0.001" in told.out
        assert f"for {'one run' if runs == 1 else '3 runs'}, and no more" in told.out
    for wrong in ("0", "-1", "1.5", "1001"):
        assert cli("site", "plan", study, "--home", home, "--runs", wrong).code == 2


def test_the_policy_bounds_all_runs_together(consortium: Stewards) -> None:
    study, home = consortium.federation.study, consortium.homes["north"]
    config = home / "site.toml"
    config.write_text(config.read_text().replace("epsilon = 8.0", "epsilon = 1.2"))
    assert cli("site", "plan", study, "--home", home).code == 0
    refused = cli("site", "approve", study, "--home", home, "--yes", "--runs", "2")
    assert refused.code == 3 and "policy" in refused.err
    assert consortium.kinds("north") == ["genesis"]


def test_several_runs_are_priced_together_in_ledger_and_release(
    consortium: Stewards, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    consortium.approve("--runs", "2")
    assert consortium.simulate(tmp_path / "one").code == 0
    plan = plan_of(tmp_path / "one")
    both = plan.price(2).epsilon
    for site in consortium.homes:  # half of it is spent, and the other half stays held
        assert consortium.budget(site)["epsilon_reserved"] == pytest.approx(both, rel=1e-3)
    for name in ("one", "two"):  # the first release knows that another run may come
        run, release = tmp_path / name, tmp_path / f"release-{name}"
        assert consortium.simulate(run, "--resume").code == 0
        assert cli("release", "build", run, "--out", release).code == 0
        statement = json.loads((release / "dp_statement.json").read_text())
        assert statement["epsilon"] == both > plan.price().epsilon
        assert {site["epsilon"] for site in statement["sites"].values()} == {both}
        assert statement["claim"]["runs"] == statement["runs"]["priced"] == 2
        assert not failed(capsys, release)
    assert consortium.simulate(tmp_path / "three").code == 3


def test_a_release_at_the_price_of_one_of_its_runs_is_found(
    consortium: Stewards, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever ran a plan twice and kept one of the two may not state the price of one."""
    for name in ("one", "two"):
        consortium.approve()
        assert consortium.simulate(tmp_path / name).code == 0
    run, release = tmp_path / "two", tmp_path / "release"
    assert cli("release", "build", run, "--out", release).code == 0
    assert not failed(capsys, release)
    one = plan_of(run).price().epsilon

    def understate(statement: dict) -> None:
        statement["epsilon"] = statement["claim"]["epsilon"] = one
        statement["with_the_schema"]["epsilon"] = one
        statement["claim"]["runs"] = statement["runs"]["priced"] = 1
        for party in statement["towards"].values():
            party["epsilon"] = one
        for site in statement["sites"].values():
            site["epsilon"] = one

    edit(release / "dp_statement.json", understate)
    sign_again(release, load_private_key(run / "coordinator.key"))
    assert "epsilon" in failed(capsys, release)
