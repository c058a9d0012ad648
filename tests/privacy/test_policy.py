"""The policy names every rule that a plan breaks."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import msgspec
import pytest

from fedloom.client.approval import load_plan_or_study
from fedloom.common.errors import ConfigError, PolicyError
from fedloom.common.study import Coordination
from fedloom.common.vocabulary import Trust, Unit
from fedloom.privacy.plan import Plan
from fedloom.privacy.policy import Policy
from tests.federation import make_home, make_plan

TABLE: dict[str, Any] = {
    "epsilon": 3.0,
    "delta": 1e-5,
    "models": ["vae", "mixture"],
    "min_sites": 3,
    "columns": ["age", "sex", "visited"],
    "min_noise_multiplier": 0.5,
    "unit": "person",
    "id": "patient",
    "max_rows_per_person": 5,
    "trust": "secure-sum",
    "min_colluding": 1,
}
PERSONS = 'unit = "person"\nid = "patient"\nrows_per_person = 5\n'


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """A plan within `TABLE` in every respect, and at each of its bounds but the noise."""
    folder = tmp_path_factory.mktemp("plan")
    homes = {name: make_home(folder / name, name) for name in ("east", "north", "south")}
    make_plan(folder / "study", homes, "gradients", trust="secure-sum")
    study = folder / "study" / "study.toml"
    text = study.read_text().replace("[privacy]\n", "[privacy]\n" + PERSONS)
    study.write_text(text.replace("epsilon = 8.0", "epsilon = 3.0").replace("1e-3", "1e-5"))
    return load_plan_or_study(study)


def told(plan: Plan, table: dict[str, Any], runs: int = 1) -> str:
    """What the policy says of the plan."""
    with pytest.raises(PolicyError) as caught:
        Policy.from_dict(table).check(plan, runs)
    return str(caught.value)


def test_a_plan_within_the_policy_passes(plan: Plan) -> None:
    Policy.from_dict(TABLE).check(plan)
    Policy.from_dict({"epsilon": 3, "delta": 1e-5}).check(plan)


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"epsilon": 2.9}, "the policy allows 2.9"),
        ({"delta": 9e-6}, "delta is 1e-05, the policy allows 9e-06"),
        ({"models": ["gan", "mixture"]}, "the model is 'vae', the policy allows gan, mixture"),
        ({"columns": ["age", "visited"]}, "the columns sex are not among"),
        ({"id": "visit"}, "the column of persons' ids is 'patient', the policy wants 'visit'"),
        ({"trust": "per-site"}, "the trust mode is 'secure-sum', the policy wants 'per-site'"),
        ({"min_noise_multiplier": 1e3}, "the policy wants 1000"),
        ({"min_colluding": 2}, "sums bear 1 colluding site(s), the policy wants 2"),
        ({"max_rows_per_person": 4}, "5 rows of a person count, the policy allows 4"),
    ],
)
def test_each_rule_is_named_with_the_remedy(plan: Plan, rule: dict[str, Any], said: str) -> None:
    text = told(plan, {**TABLE, **rule})
    assert said in text and "site.toml" in text and ";" not in text


def test_a_study_of_fewer_sites_than_the_policy_wants_is_refused(plan: Plan) -> None:
    text = told(plan, {**TABLE, "min_sites": 4})
    assert "3 sites take part, the policy wants 4" in text
    assert "a sum may be of 3 sites alone" in text


def test_runs_are_priced_together(plan: Plan) -> None:
    Policy.from_dict(TABLE).check(plan, 1)
    assert f"epsilon is {plan.price(2).epsilon:.4f}" in told(plan, TABLE, runs=2)


def test_a_price_that_is_no_number_is_beyond_every_policy(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = dataclasses.replace(plan.price(), epsilon=math.nan)
    monkeypatch.setattr(Plan, "price", lambda plan, runs=1: nowhere)
    assert "epsilon is nan" in told(plan, TABLE)


def test_a_sum_of_fewer_sites_than_the_policy_wants_is_refused(plan: Plan) -> None:
    narrow = dataclasses.replace(plan, coordination=Coordination(min_sites=2))
    assert "a sum may be of 2 sites alone, the policy wants 3" in told(narrow, TABLE)


def test_all_broken_rules_are_named_at_once(plan: Plan) -> None:
    records = msgspec.structs.replace(plan.privacy, unit=Unit.RECORD, id=None, rows_per_person=1)
    text = told(
        dataclasses.replace(plan, privacy=records),
        {
            "epsilon": 0.1,
            "delta": 1e-9,
            "models": ["gan"],
            "min_sites": 4,
            "columns": ["age"],
            "min_noise_multiplier": 1e3,
            "unit": "person",
            "id": "visit",
            "trust": "per-site",
            "min_colluding": 2,
        },
    )
    assert text.count(";") == 10
    assert "unit of privacy is 'record'" in text and "ids is None" in text


def test_what_belongs_to_a_secure_sum_is_not_asked_of_per_site_trust(plan: Plan) -> None:
    table = {key: value for key, value in TABLE.items() if key != "trust"}
    privacy = msgspec.structs.replace(plan.privacy, trust=Trust.PER_SITE, colluding=0)
    alone = dataclasses.replace(plan, privacy=privacy, coordination=Coordination(min_sites=1))
    Policy.from_dict(table).check(alone)


@pytest.mark.parametrize(
    "changed",
    [
        {"epsilons": 1},
        {"epsilon": 0},
        {"epsilon": "3"},
        {"epsilon": True},
        {"epsilon": float("inf")},
        {"delta": 0},
        {"delta": 1},
        {"models": "vae"},
        {"models": []},
        {"columns": [1]},
        {"min_sites": 0},
        {"min_sites": 2.0},
        {"min_noise_multiplier": 0},
        {"unit": "patient"},
        {"unit": "record"},  # with an id
        {"id": ""},
        {"id": 3},
        {"max_rows_per_person": 0},
        {"min_colluding": -1},
        {"min_colluding": True},
        {"trust": "mutual"},
    ],
)
def test_unusable_tables_are_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="policy"):
        Policy.from_dict({**TABLE, **changed})


@pytest.mark.parametrize("table", [None, [], {}, {"epsilon": 1.0}])
def test_incomplete_tables_are_refused(table: Any) -> None:
    with pytest.raises(ConfigError, match="policy"):
        Policy.from_dict(table)
