"""An open schema becomes whole from one noisy sum; what cannot be found is left out, and told."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fedloom.common.discovery import Discovery
from fedloom.common.encoding import Encoding
from fedloom.common.schema import Column, Schema
from fedloom.server.learners.open_columns import Finding, complete_schema, detectable

SCHEMA = Schema(
    (
        Column("sex", "category", values=("0", "1")),
        Column("fee", "real", open=True, description="in dollars"),
        Column("visits", "integer", open=True, nullable=True),
        Column("town", "category", open=True, other="elsewhere"),
        Column("seen", "datetime", open=True),
        Column("code", "category", open=True),
    )
)
ROWS = 6000
STD = 300.0


def table(rows: int = ROWS) -> pd.DataFrame:
    rng = np.random.default_rng(20260101)
    days = rng.integers(0, 600, rows).astype("timedelta64[D]")
    return pd.DataFrame(
        {
            "sex": rng.choice(["0", "1"], rows),
            "fee": np.where(rng.random(rows) < 0.1, np.nan, rng.gamma(3.0, 80.0, rows)),
            "visits": rng.integers(0, 12, rows),
            "town": rng.choice(["north", "south", "10", "9", "elsewhere"], rows),
            "seen": np.datetime64("2021-03-01") + days,
            "code": [f"unique-{i}" for i in range(rows)],
        }
    )


@pytest.fixture(scope="module")
def completed() -> tuple[Schema, dict[str, Finding]]:
    discovery = Discovery(SCHEMA)
    total = discovery.sum(discovery.encode(table()).codes)
    noise = np.random.default_rng(20260101).normal(0, STD, discovery.length)
    schema, findings = complete_schema(discovery, total + noise, STD)
    assert schema is not None
    return schema, {finding.column: finding for finding in findings}


def test_completed_schema_encodes(completed: tuple[Schema, dict[str, Finding]]) -> None:
    schema, _ = completed
    assert schema.names == ("sex", "fee", "visits", "town", "seen")
    assert schema.open_columns == ()
    assert schema.column("sex") == SCHEMA.column("sex")
    encoded = Encoding(schema).encode(table())
    assert sum(encoded.clamped.values()) < 0.05 * ROWS
    assert encoded.unknown["town"] == 0


def test_columns_keep_what_was_said_and_gain_what_was_found(
    completed: tuple[Schema, dict[str, Finding]],
) -> None:
    schema, _ = completed
    fee, visits, town = (schema.column(name) for name in ("fee", "visits", "town"))
    assert fee.nullable and fee.description == "in dollars" and len(fee.edges) > 40
    assert (visits.minimum, visits.maximum) == (0, 11) and visits.nullable
    assert town.values == ("9", "10", "north", "south")
    assert town.other == "elsewhere" and not town.nullable
    assert str(schema.column("seen").minimum) == "2021-03-01"


def test_findings_say_what_was_asked_and_what_was_not_found(
    completed: tuple[Schema, dict[str, Finding]],
) -> None:
    _, findings = completed
    assert [name for name, finding in findings.items() if not finding.complete] == ["code"]
    assert "list the values" in findings["code"].found
    assert sum(finding.share for finding in findings.values()) == pytest.approx(1.0)
    assert findings["fee"].missing == pytest.approx(0.1 * ROWS, rel=0.2)
    assert findings["town"].values["north"] == pytest.approx(ROWS / 5, rel=0.1)
    columns = Discovery(SCHEMA).columns
    for column in columns:
        assert findings[column.column.name].needed == detectable(column, STD)


def test_an_empty_table_leaves_nothing() -> None:
    schema = Schema((Column("fee", "real", open=True), Column("town", "category", open=True)))
    discovery = Discovery(schema)
    noise = np.random.default_rng(20260101).normal(0, STD, discovery.length)
    completed, findings = complete_schema(discovery, noise, STD)
    assert completed is None
    assert [finding.complete for finding in findings] == [False, False]


def test_missing_values_are_told_where_they_stand_out_alone() -> None:
    """Noise looks like missing values once in 1,000 columns; the twin is told half of its noise."""
    schema = Schema((Column("visits", "integer", open=True),))
    discovery = Discovery(schema)
    frame = pd.DataFrame({"visits": np.arange(2000) % 7})
    total = discovery.sum(discovery.encode(frame).codes)
    for louder, most, least in ((1.0, 1, 0), (2.0, 60, 5)):
        rng, told = np.random.default_rng(20260101), 0
        for _ in range(60):
            noise = rng.normal(0, louder * STD, discovery.length)
            completed, _ = complete_schema(discovery, total + noise, STD)
            told += completed is not None and completed.column("visits").nullable
        assert least <= told <= most


@pytest.mark.parametrize(
    ("pairs", "kept"),
    [
        ((("9", "low"), ("10", "low"), ("never", "high")), {"9": "low", "10": "low"}),
        ((("009", "low"), ("010", "low")), {}),
        ((("9", "low"), ("(other)", "low")), {}),
    ],
)
def test_a_hierarchy_that_does_not_fit_is_left_out_and_told_and_the_values_stay(
    pairs: tuple[tuple[str, str], ...], kept: dict[str, str]
) -> None:
    discovery = Discovery(Schema((Column("town", "category", open=True, hierarchy=pairs),)))
    total = discovery.sum(discovery.encode(table()[["town"]]).codes)
    noise = np.random.default_rng(20260101).normal(0, STD, discovery.length)
    schema, (finding,) = complete_schema(discovery, total + noise, STD)
    assert schema is not None and finding.complete
    assert {"9", "10", "north", "south"} <= set(schema.column("town").values)
    assert dict(schema.column("town").hierarchy) == kept
    assert ("without the hierarchy" in finding.found) == (not kept)
