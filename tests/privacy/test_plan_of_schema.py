"""A plan of the kind "schema": one sum, its true sensitivity and price, and nothing else in it."""

from __future__ import annotations

import math
from typing import Any

import pytest

import fedloom
from fedloom.common.errors import SchemaError, StudyError
from fedloom.common.schema import Column, Schema
from fedloom.common.study import parse_study
from fedloom.privacy.accounting import price_of
from fedloom.privacy.events import gaussian
from fedloom.privacy.plan import Plan
from fedloom.privacy.plan_check import check_plan
from fedloom.privacy.plan_size import expected_seconds, noise_warnings
from fedloom.privacy.resolve import resolve_plan
from tests.plans import edited

OPEN = Schema(
    (
        Column("sex", "category", values=("0", "1")),
        Column("fee", "real", open=True),
        Column("town", "category", open=True),
    )
)


def made(schema: Schema = OPEN, *, sites: int = 2, **sections: Any) -> Plan:
    raw = {
        "study": {"name": "toy", "schema": "schema.toml", **sections.pop("study", {})},
        "privacy": {"epsilon": 0.5, "delta": 1e-6, **sections.pop("privacy", {})},
        "model": {"kind": "schema", **sections.pop("model", {})},
        "site": [{"name": f"site{i}"} for i in range(sites)],
        **sections,
    }
    return resolve_plan(parse_study(raw, schema), schema, version=fedloom.__version__)


@pytest.mark.parametrize("sites", [2, 3])
def test_one_sum_takes_the_whole_budget(sites: int) -> None:
    plan = made(sites=sites)
    check_plan(plan)
    assert plan.learns_schema and len(plan.rounds) == 1 and plan.training is None
    params = plan.rounds[0].params
    assert params["statistic"] == "discovery" and params["max_cells"] == plan.discovery.length
    assert params["l2_norm"] == pytest.approx(math.sqrt(30**2 + 60**2))
    assert 0.49 < plan.stated_price.epsilon <= 0.5
    assert price_of(gaussian(params["noise_multiplier"]), 1e-6).epsilon <= 0.5
    assert noise_warnings(plan) == [] and expected_seconds(plan) < 60


def test_columns_that_are_not_open_cost_nothing() -> None:
    alone = made(Schema(OPEN.columns[1:]))
    assert alone.rounds[0].params == made().rounds[0].params


def test_rows_of_a_person_add_up() -> None:
    privacy = {"unit": "person", "id": "patient", "rows_per_person": 5}
    plan = made(privacy=privacy)
    check_plan(plan)
    assert plan.rounds[0].params["l2_norm"] == pytest.approx(5 * plan.discovery.l2_norm)


def test_a_false_norm_or_noise_is_found() -> None:
    for key, value in (("l2_norm", 30.0), ("noise_multiplier", 4.0), ("max_cells", 7)):
        with pytest.raises(StudyError, match="the plan"):
            check_plan(edited(made(), ("phases", 0, key), value))


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"study": {"target": "sex"}}, "remove target"),
        ({"release": {"rows": 10}}, "remove target"),
        ({"evaluation": {"share": 0.1}}, "remove target"),
        ({"training": {"num_rounds": 3}}, "no training rounds"),
        ({"statistics": {"share": 0.5}}, "remove target"),
        ({"statistics": {"kind": "one-way"}}, "remove target"),
        ({"statistics": {"memory_mb": 5}}, "remove target"),
        ({"model": {"components": 5}}, "unknown key"),
    ],
)
def test_what_belongs_to_another_study_is_refused(sections: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        made(**sections)


def test_open_and_whole_schemas_have_their_own_studies() -> None:
    with pytest.raises(SchemaError, match="no column is open"):
        made(Schema(OPEN.columns[:1]))
    with pytest.raises(SchemaError, match="'fee' is open"):
        made(model={"kind": "mixture"})
