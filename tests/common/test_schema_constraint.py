"""Constraints in a schema: canonical, part of the digest, and never such that nothing fits."""

from __future__ import annotations

import pytest

from fedloom.common.errors import SchemaError
from fedloom.common.schema import Schema

COLUMNS = [
    {"name": "low", "kind": "integer", "min": 0, "max": 10, "special": [99]},
    {"name": "high", "kind": "integer", "min": 0, "max": 10},
    {"name": "ratio", "kind": "real", "min": 0, "max": 1},
    {"name": "in", "kind": "datetime", "min": "2020-01-01", "max": "2020-12-31"},
    {"name": "out", "kind": "datetime", "min": "2020-01-01", "max": "2020-12-31"},
    {"name": "at", "kind": "datetime", "min": "2020-01-01T00:00:00", "max": "2021-01-01T00:00:00"},
    {"name": "state", "kind": "category", "values": ["NY", "MA"], "other": "elsewhere"},
    {"name": "city", "kind": "category", "values": ["Albany", "Boston"], "nullable": True},
]
ORDER = {"kind": "order", "columns": ["in", "out"]}
CITIES = {
    "kind": "fixed-combinations",
    "columns": ["state", "city"],
    "rows": [["MA", "Boston"], ["NY", "Albany"], ["MA", "Boston"]],
}


def schema(*constraints):
    return Schema.from_dict({"column": COLUMNS, "constraint": list(constraints)})


def test_constraints_survive_and_count_in_the_digest():
    one = schema(ORDER, CITIES)
    assert Schema.from_dict(one.to_dict()) == one
    assert one.digest() == Schema.from_dict(one.to_dict()).digest()
    digests = {schema(*c).digest() for c in ((), (ORDER,), (CITIES,), ({**ORDER, "strict": True},))}
    assert len(digests) == 4 and one.digest() not in digests
    assert "constraint" not in schema().to_dict()


def test_combinations_are_canonical_whatever_their_order():
    turned = {**CITIES, "rows": [["NY", "Albany"], ["MA", "Boston"]]}
    assert schema(CITIES).constraints[0].rows == (("NY", "Albany"), ("MA", "Boston"))
    assert schema(CITIES).digest() == schema(turned).digest()


def test_combinations_may_come_from_a_file_and_hold_integers(tmp_path):
    text = "\n".join(
        f"[[column]]\nname = '{name}'\nkind = 'integer'\nmin = 0\nmax = 9" for name in ("a", "b")
    )
    text += "\n[[constraint]]\nkind = 'fixed-combinations'\ncolumns = ['a', 'b']\nfile = 'ab.csv'"
    (tmp_path / "schema.toml").write_text(text)
    (tmp_path / "ab.csv").write_text("b,note,a\n3,x,1\n2,y,1\n")
    assert Schema.load(tmp_path / "schema.toml").constraints[0].rows == ((1, 2), (1, 3))
    (tmp_path / "ab.csv").write_text("b\n3\n")
    with pytest.raises(SchemaError, match="ab.csv: no column 'a'"):
        Schema.load(tmp_path / "schema.toml")
    (tmp_path / "ab.csv").unlink()
    with pytest.raises(SchemaError, match="schema.toml: .*ab.csv: .*cannot be read"):
        Schema.load(tmp_path / "schema.toml")


def order(*columns, **more):
    return {"kind": "order", "columns": list(columns), **more}


@pytest.mark.parametrize(
    "constraints",
    [
        [order("low", "high"), order("low", "ratio")],
        [order("low", "ratio", strict=True)],
        [order("in", "out", strict=True)],
        [order("ratio", "high"), order("high", "low")],
    ],
)
def test_constraints_that_can_be_met_are_accepted(constraints):
    assert len(schema(*constraints).constraints) == len(constraints)


@pytest.mark.parametrize(
    "constraints, message",
    [
        (["order"], "double brackets"),
        ([{"kind": "sum", "columns": ["low", "high"]}], "choose one of order, fixed"),
        ([order("low")], "two columns or more"),
        ([order("low", "low")], "each once"),
        ([order("low", "hihg")], "no column 'hihg'.*did you mean 'high'"),
        ([order("low", "state")], "among numbers, or among times"),
        ([order("low", "in")], "among numbers, or among times"),
        ([order("in", "at")], "dates and times of day do not compare"),
        ([order("low", "high", strict=1)], "strict must be true or false"),
        ([order("low", "high", rows=[])], "unknown key 'rows'"),
        ([order("low", "high"), order("high", "low")], "round in a circle"),
        ([{**CITIES, "rows": []}], "rows must list combinations of 2 values"),
        ([{**CITIES, "rows": [["NY"]]}], "rows must list combinations of 2 values"),
        ([{**CITIES, "rows": [["NY", "Salem"]]}], "'city' has no value 'Salem'"),
        ([{**CITIES, "columns": ["state", "ratio"]}], "categories and integers"),
        ([{**CITIES, "columns": ["state", "high"], "rows": [["NY", 11]]}], "outside 0 to 10"),
        ([{**CITIES, "columns": ["state", "high"], "rows": [["NY", "x"]]}], "whole numbers"),
        ([{**CITIES, "file": "x.csv"}], "file is read with a schema's file alone"),
        ([CITIES, {**CITIES, "columns": ["city", "state"], "rows": [["Albany", "NY"]]}], "another"),
    ],
)
def test_constraints_that_cannot_be_kept_are_refused(constraints, message):
    with pytest.raises(SchemaError, match=message):
        schema(*constraints)


def test_an_order_that_no_record_can_keep_is_refused():
    columns = [
        {"name": "a", "kind": "integer", "min": 5, "max": 9},
        {"name": "b", "kind": "integer", "min": 0, "max": 5},
    ]
    assert Schema.from_dict({"column": columns, "constraint": [order("a", "b")]})
    with pytest.raises(SchemaError, match="'b' cannot be that large"):
        Schema.from_dict({"column": columns, "constraint": [order("a", "b", strict=True)]})


def test_open_columns_may_be_ordered_but_not_combined():
    columns = [
        {"name": "a", "kind": "integer", "bounds": "private"},
        {"name": "b", "kind": "integer", "min": 0, "max": 5},
    ]
    schema = Schema.from_dict({"column": columns, "constraint": [order("a", "b")]})
    assert schema.constraints[0].name == "a <= b"
    listed = {"kind": "fixed-combinations", "columns": ["a", "b"], "rows": [[1, 2]]}
    with pytest.raises(SchemaError, match="'a' is open; combinations need its bounds"):
        Schema.from_dict({"column": columns, "constraint": [listed]})
