"""CSV and Parquet of a release give one typed table, whatever the schema allows."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from fedloom.common.artifact import Artifact
from fedloom.common.encoding import Encoding
from fedloom.common.errors import ConfigError, ReleaseError, SchemaError
from fedloom.common.sampling import sample
from fedloom.common.schema import Schema
from fedloom.privacy.release.data import write_data
from fedloom.privacy.release.typed_rows import dtypes, read_typed, typed
from fedloom.privacy.release.verify.rows import check_data

TEXTS = st.text(min_size=1, max_size=5) | st.sampled_from(
    ["NA", "nan", "1", "01", "1.0", "true", 'a"b', "a,b", "a;b", " a", "a ", "#", "-0"]
)
DATES = st.dates(dt.date(1, 1, 1), dt.date(9999, 12, 30))


def bounds(kind: str) -> st.SearchStrategy[tuple[Any, Any]]:
    if kind == "integer":
        ends = st.integers(-(2**53), 2**53)
    elif kind == "real":
        ends = st.floats(-1e12, 1e12) | st.floats(-1e-9, 1e-9)
    else:
        ends = DATES.map(str) | st.datetimes(dt.datetime(1, 1, 1), dt.datetime(9999, 12, 30)).map(
            lambda time: time.replace(microsecond=0).isoformat()
        )
    return st.tuples(ends, ends).filter(lambda pair: pair[0] < pair[1])


@st.composite
def columns(draw: Any, name: str) -> dict[str, Any]:
    kind = draw(st.sampled_from(["integer", "real", "datetime", "category"]))
    entry: dict[str, Any] = {"name": name, "kind": kind, "nullable": draw(st.booleans())}
    if kind == "category":
        entry["values"] = draw(st.lists(TEXTS, min_size=2, max_size=4, unique=True))
        entry["other"] = "(other)" if draw(st.booleans()) else None
        return {key: value for key, value in entry.items() if value is not None}
    low, high = draw(bounds(kind))
    return entry | {"min": low, "max": high, "bins": draw(st.sampled_from([1, 3, 7]))}


def rows_of(schema: Schema, seed: int, rows: int = 40) -> pd.DataFrame:
    """Draws rows as a release does, every cell about as likely as any other."""
    encoding = Encoding(schema, None)
    cells = np.random.default_rng(seed).gamma(2.0, size=(1, 3, encoding.width))
    for block in encoding.features:
        cells[:, :, block.start : block.start + block.size] *= block.sampleable
    arrays = {"probabilities": cells, "class_prior": np.ones(encoding.num_classes)}
    artifact = Artifact(kind="mixture", config={}, arrays=arrays)
    return sample(artifact, schema, None, rows, seed=seed)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data(), seed=st.integers(0, 2**32))
def test_csv_and_parquet_agree_in_values_and_types(
    tmp_path: Path, data: st.DataObject, seed: int
) -> None:
    names = ["a", "b,c", "d"]
    try:
        schema = Schema.from_dict({"column": [data.draw(columns(name)) for name in names]})
    except SchemaError:
        reject()
    drawn = rows_of(schema, seed)
    write_data(drawn, tmp_path)
    from_csv, from_parquet = (read_typed(tmp_path, schema, form) for form in ("csv", "parquet"))
    pd.testing.assert_frame_equal(from_csv, from_parquet, check_exact=True)
    pd.testing.assert_frame_equal(from_csv, typed(drawn, schema), check_exact=True)
    assert {name: from_csv[name].dtype for name in names} == dtypes(schema)
    check_data(tmp_path, Encoding(schema, None), len(drawn), lambda rows: None)


def test_types_follow_from_the_schema_alone(toy_schema: Schema) -> None:
    found = dtypes(toy_schema)
    assert list(found["town"].categories) == ["north", "south", "elsewhere"]
    assert found["visits"] == "Int64" and found["seen"] == "datetime64[s]"
    empty = typed(pd.DataFrame({name: [] for name in toy_schema.names}), toy_schema)
    assert empty.dtypes.to_dict() == found and len(empty) == 0


@pytest.mark.parametrize(
    ("column", "value"),
    [("visits", "x"), ("visits", "1.5"), ("town", "west"), ("seen", "soon"), ("income", "much")],
)
def test_a_value_of_no_such_kind_is_said(toy_schema: Schema, column: str, value: str) -> None:
    row = {
        "sex": "0",
        "visits": "1",
        "income": "1",
        "health": None,
        "seen": "2020-01-01",
        "town": None,
        "label": "no",
    }
    typed(pd.DataFrame([row]), toy_schema)
    with pytest.raises(ReleaseError, match=f"'{column}'"):
        typed(pd.DataFrame([row | {column: value}]), toy_schema)


def test_formats_are_two(tmp_path: Path, toy_schema: Schema) -> None:
    with pytest.raises(ConfigError, match="parquet, csv"):
        read_typed(tmp_path, toy_schema, "xlsx")
