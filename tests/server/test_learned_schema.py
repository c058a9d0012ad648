"""What a study of kind "schema" leaves behind: read back as written, with origin and price."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import fedloom
from fedloom.common.errors import ConfigError
from fedloom.common.models.registry import SchemaSettings
from fedloom.common.privacy_settings import privacy_settings
from fedloom.common.schema import Column, Schema
from fedloom.common.study import SiteEntry, Study
from fedloom.privacy.plan import Plan
from fedloom.privacy.resolve import resolve_plan
from fedloom.server.learned_schema import FINDINGS, SCHEMA, LearnedSchema

OPEN = Schema((Column("age", "integer", open=True), Column("town", "category", open=True)))


def plan_of(schema: Schema = OPEN) -> Plan:
    study = Study(
        name="toy\u2028study",
        schema_digest=schema.digest(),
        target=None,
        privacy=privacy_settings({"epsilon": 1.0, "delta": 1e-5}, schema, 2, where="toy"),
        model=SchemaSettings(),
        sites=(SiteEntry(name="north"), SiteEntry(name="south")),
    )
    return resolve_plan(study, schema, version=fedloom.__version__)


def learned(plan: Plan, rows: int = 2000, std: float = 100.0) -> LearnedSchema:
    frame = pd.DataFrame({"age": np.arange(rows) % 50, "town": ["Dayton"] * rows})
    total = plan.discovery.sum(plan.discovery.encode(frame).codes)
    noise = np.random.default_rng(20260101).normal(0, std, len(total))
    return LearnedSchema.learn(plan, total + noise, std)


def test_files_come_back(tmp_path: Path) -> None:
    assert not LearnedSchema.exists(tmp_path)
    with pytest.raises(ConfigError, match="finish the run by `fedloom schema learn --resume`"):
        LearnedSchema.load(tmp_path)
    made = learned(plan_of())
    made.save(tmp_path)
    assert LearnedSchema.exists(tmp_path)
    again = LearnedSchema.load(tmp_path)
    assert again.schema == made.schema == Schema.load(tmp_path / SCHEMA)
    assert list(again.findings) == list(made.findings)
    assert not list(tmp_path.glob("*.partial"))


def test_schema_names_its_origin_and_price() -> None:
    plan = plan_of()
    schema = learned(plan).schema
    assert schema is not None
    (origin,) = schema.learned
    assert (origin.plan, origin.study) == (plan.digest(), plan.study_digest)
    assert origin.epsilon == plan.stated_price.epsilon and origin.columns == ("age", "town")


def test_an_earlier_origin_is_kept() -> None:
    first = learned(plan_of()).schema
    assert first is not None
    second = plan_of(Schema((*first.columns, Column("fee", "real", open=True)), (), first.learned))
    frame = pd.DataFrame({"age": [1], "town": ["Dayton"], "fee": [2.5]}).iloc[np.zeros(900, int)]
    total = second.discovery.sum(second.discovery.encode(frame).codes)
    schema = LearnedSchema.learn(second, total.astype(float), 1.0).schema
    assert schema is not None
    assert [origin.columns for origin in schema.learned] == [("age", "town"), ("fee",)]


def test_nothing_found_is_told_without_a_schema(tmp_path: Path) -> None:
    made = learned(plan_of(), rows=0)
    assert made.schema is None
    made.save(tmp_path)
    assert not (tmp_path / SCHEMA).exists() and (tmp_path / FINDINGS).exists()
    assert LearnedSchema.load(tmp_path).schema is None
