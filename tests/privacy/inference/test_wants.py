"""Errors are known before anything is asked, and the least epsilon is found from them."""

from __future__ import annotations

import msgspec
import numpy as np
import pandas as pd
import pytest

import fedloom
from fedloom.common.errors import ConfigError, NotMeasuredError, SchemaError
from fedloom.common.schema import Schema
from fedloom.common.study import Study, parse_study
from fedloom.privacy.inference.expected import PlannedNoise, precision_table
from fedloom.privacy.inference.formula import parse_factor
from fedloom.privacy.inference.groups import groups_of, means
from fedloom.privacy.inference.levels import single_term
from fedloom.privacy.inference.result import Z
from fedloom.privacy.inference.wants import expected_error, least_epsilon, parse_want
from fedloom.privacy.plan import Plan
from fedloom.privacy.resolve import resolve_plan
from tests.inferred import SCHEMA, drawn, sums_of

RECORDS = 8000


def study_of(target: str | None = "sick", **sections: object) -> Study:
    raw = {
        "study": {"name": "wants", "schema": "schema.toml", "target": target},
        "privacy": {"epsilon": 2.0, "delta": 1e-5},
        "site": [{"name": f"site-{number}"} for number in range(4)],
        "model": {"kind": "mixture"},
        **sections,
    }
    return parse_study(raw, SCHEMA)


def plan_of(study: Study) -> Plan:
    return resolve_plan(study, SCHEMA, version=fedloom.__version__)


@pytest.mark.parametrize("text, by", [("sick == yes", "group"), ("sex == m", "group")])
def test_the_planned_error_is_about_that_which_inference_states(text, by):
    plan = plan_of(study_of())
    noise = PlannedNoise.of(plan)
    frame = drawn(RECORDS, np.random.default_rng(3))
    sums = sums_of(frame, "sick", stds=(noise.one_way, noise.pair))
    factor = parse_factor(text)
    groups = groups_of(sums, parse_factor(by), factor.column)
    found = means(sums, single_term(sums.tables, factor), groups, differences=False)
    sizes = frame[by].value_counts()
    for one in found:
        size = int(sizes[one.name.removeprefix("group: ")])
        want = parse_want(f"{factor.column} by {by} within 2 points in groups of {size}", SCHEMA)
        planned, reckoned = expected_error(plan, want, RECORDS)
        assert reckoned == size
        assert Z * one.std_noise == pytest.approx(planned, rel=0.35)


def test_the_least_epsilon_keeps_the_want_and_no_less_does():
    study = study_of()
    want = parse_want("sick by group within 3 points", SCHEMA)
    (answer,) = least_epsilon(study, SCHEMA, [want], RECORDS, version=fedloom.__version__)

    def error(epsilon: float) -> float:
        privacy = msgspec.structs.replace(study.privacy, epsilon=epsilon)
        changed = plan_of(msgspec.structs.replace(study, privacy=privacy))
        return expected_error(changed, want, RECORDS)[0]

    assert error(answer.epsilon) <= 0.03 < error(answer.epsilon * 0.97)
    assert answer.error == pytest.approx(error(2.0))


def test_what_the_study_does_not_count_cannot_be_solved():
    trained = {"model": {"kind": "vae"}, "statistics": {"kind": "one-way"}, "training": {}}
    study = study_of(**trained)
    want = parse_want("sex by group within 3 points", SCHEMA)
    with pytest.raises(NotMeasuredError, match="pairwise"):
        expected_error(plan_of(study), want, RECORDS)


def test_errors_fall_as_groups_grow_and_records_bound_them():
    table = precision_table(PlannedNoise.of(plan_of(study_of())), 3000)
    assert [row.size for row in table] == [100, 500, 2000]
    assert table[0].label == pytest.approx(5 * table[1].label)
    assert table[0].label < table[0].other


def test_without_a_label_only_pairs_are_told():
    (row, *_) = precision_table(PlannedNoise.of(plan_of(study_of(target=None))))
    assert row.label is None and row.other is not None


@pytest.mark.parametrize(
    "text", ["sick", "sick by age", "sick by age within two points", "sick by sick within 2 points",
             "sick within 0 points"]
)  # fmt: skip
def test_what_is_no_want_is_refused(text):
    with pytest.raises(ConfigError):
        parse_want(text, SCHEMA)


def test_a_want_of_no_column_is_refused():
    with pytest.raises(SchemaError):
        parse_want("shoe by age within 2 points", SCHEMA)
    assert pd.notna(parse_want("`sick` by `age` within 2.5 points", SCHEMA).within)


def test_a_share_of_items_has_the_noise_of_their_counts():
    items = {"name": "drugs", "kind": "set", "values": ["a", "b", "c"], "max_items": 2}
    label = {"name": "sick", "kind": "category", "values": ["no", "yes"]}
    number = {"name": "age", "kind": "integer", "min": 0, "max": 90}
    schema = Schema.from_dict({"column": [items, number, label]})
    raw = {
        "study": {"name": "wants", "schema": "schema.toml", "target": "sick"},
        "privacy": {"epsilon": 2.0, "delta": 1e-5},
        "site": [{"name": "one"}],
    }
    plan = resolve_plan(parse_study(raw, schema), schema, version=fedloom.__version__)
    stds = {phase.name: phase.noise_std for phase in plan.phases}
    asked = (
        parse_want("drugs within 2 points", schema),
        parse_want("drugs by sick within 2 points", schema),
    )
    found = [expected_error(plan, want, 8_000) for want in asked]
    assert found[0] == (pytest.approx(Z * stds["items"] / 8_000), 8_000)
    assert found[1] == (pytest.approx(Z * stds["item-pairs"] / 4_000), 4_000)
    with pytest.raises(NotMeasuredError):
        expected_error(plan, parse_want("drugs by age within 2 points", schema), 8_000)
