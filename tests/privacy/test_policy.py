"""The policy names every rule that a plan breaks."""

from __future__ import annotations

from typing import Any

import pytest

from fedloom.common.errors import ConfigError, PolicyError
from fedloom.privacy.policy import Policy

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
FACTS: dict[str, Any] = {
    "epsilon": 3.0,
    "delta": 1e-5,
    "model": "vae",
    "num_sites": 3,
    "columns": ["age", "visited"],
    "unit": "person",
    "trust": "secure-sum",
    "min_noise_multiplier": 0.5,
    "least_roster": 3,
    "colluding": 1,
    "id": "patient",
    "rows_per_person": 5,
}


def test_a_plan_within_the_policy_passes() -> None:
    Policy.from_dict(TABLE).check(**FACTS)
    Policy.from_dict({"epsilon": 3, "delta": 1e-5}).check(**FACTS)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"epsilon": 3.0001}, "epsilon is 3.0001, the policy allows 3"),
        ({"epsilon": float("nan")}, "epsilon is nan"),
        ({"delta": 2e-5}, "delta is 2e-05, the policy allows 1e-05"),
        ({"model": "gan"}, "the model is 'gan', the policy allows vae, mixture"),
        ({"num_sites": 2}, "2 sites take part, the policy wants 3"),
        ({"columns": ["age", "income", "zip"]}, "the columns income, zip are not among"),
        ({"unit": "record"}, "the unit of privacy is 'record', the policy wants 'person'"),
        ({"trust": "per-site"}, "the trust mode is 'per-site', the policy wants 'secure-sum'"),
        ({"min_noise_multiplier": 0.4}, "the least noise multiplier is 0.4, the policy wants 0.5"),
        ({"min_noise_multiplier": None}, "the least noise multiplier is unknown"),
        ({"num_sites": 4, "least_roster": 2}, "a sum may be of 2 sites alone, the policy wants 3"),
        ({"colluding": 0}, "sums bear 0 colluding site(s), the policy wants 1"),
        ({"id": "visit"}, "the column of persons' ids is 'visit', the policy wants 'patient'"),
        ({"id": None}, "the column of persons' ids is None"),
        ({"rows_per_person": 6}, "6 rows of a person count, the policy allows 5"),
    ],
)
def test_each_rule_is_named_with_the_remedy(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(PolicyError) as caught:
        Policy.from_dict(TABLE).check(**{**FACTS, **changed})
    assert said in str(caught.value)
    assert "site.toml" in str(caught.value)


def test_all_broken_rules_are_named_at_once() -> None:
    with pytest.raises(PolicyError) as caught:
        Policy.from_dict(TABLE).check(
            epsilon=9,
            delta=0.1,
            model="gan",
            num_sites=1,
            columns=["zip"],
            unit="record",
            trust="per-site",
            min_noise_multiplier=0.1,
            least_roster=1,
            colluding=0,
            id="visit",
            rows_per_person=9,
        )
    assert str(caught.value).count(";") == 11


def test_what_belongs_to_a_secure_sum_is_not_asked_of_local_trust() -> None:
    table = {key: value for key, value in TABLE.items() if key != "trust"}
    facts = {**FACTS, "trust": "per-site", "least_roster": None, "colluding": None}
    Policy.from_dict(table).check(**facts)


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
