"""Columns that are open, and columns with edges: what they hold and what they refuse."""

from __future__ import annotations

from typing import Any

import pytest

from fedloom.common.column import Column
from fedloom.common.encoding import Encoding
from fedloom.common.errors import SchemaError
from fedloom.common.schema import Schema

FEE = {"name": "fee", "kind": "real", "bounds": "private"}
TOWN = {"name": "town", "kind": "category", "values": "private", "other": "elsewhere"}
AGE = {"name": "age", "kind": "integer", "min": 0, "max": 120, "edges": [18, 65]}


@pytest.mark.parametrize("entry", [FEE, TOWN, AGE])
def test_canonical_form_comes_back(entry: dict[str, Any]) -> None:
    column = Column.from_dict(entry, 1)
    assert column.to_dict() == entry
    assert Column.from_dict(column.to_dict(), 1) == column


def test_open_columns_are_told_and_never_encoded() -> None:
    schema = Schema.from_dict({"column": [AGE, FEE, TOWN]})
    assert [column.name for column in schema.open_columns] == ["fee", "town"]
    with pytest.raises(SchemaError, match=r"'fee' is open .*fedloom schema learn"):
        Encoding(schema)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bounds": None, "min": 0}, 'bounds = "private" has a study'),
        ({"bounds": "secret"}, 'either absent or "private"'),
        ({"bounds": None}, "either absent"),
        ({"min": 0, "max": 1}, "in place of min"),
        ({"bins": 3}, "in place of min"),
        ({"edges": [3.0]}, "in place of min"),
        ({"special": [0]}, "special do not go together"),
        ({"values": "private"}, "must be a list"),
        ({"kind": "category"}, "for numbers and times alone"),
    ],
)
def test_open_numbers_refuse(changes: dict[str, Any], message: str) -> None:
    entry = {**FEE, **changes}
    if changes.get("min") == 0 and "max" not in changes:
        del entry["bounds"]
    with pytest.raises(SchemaError, match=message):
        Column.from_dict(entry, 1)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"name": "town", "kind": "category"}, 'values = "private" has a study'),
        ({**TOWN, "values": "secret"}, "must be a list"),
        ({**TOWN, "min": 0}, "a category has no min"),
        ({**TOWN, "edges": [1]}, "no edges"),
    ],
)
def test_open_categories_refuse(entry: dict[str, Any], message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        Column.from_dict(entry, 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"edges": [65, 18]}, "increase strictly"),
        ({"edges": [18, 18]}, "increase strictly"),
        ({"edges": [0, 18]}, "increase strictly"),
        ({"edges": [121]}, "increase strictly"),
        ({"edges": 18}, "must be a list"),
        ({"edges": [18.5]}, "kind is 'integer'"),
        ({"bins": 3}, "in place of bins"),
        ({"scale": "log"}, "in place of bins"),
        (
            {"kind": "datetime", "min": "2020-01-01", "max": "2021-01-01", "edges": ["2020-02-01"]},
            "integers and reals",
        ),
    ],
)
def test_edges_refuse(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        Column.from_dict({**AGE, **changes}, 1)


def test_the_last_integer_may_be_a_bin_of_its_own() -> None:
    column = Column.from_dict({**AGE, "edges": [18, 120]}, 1)
    assert column.edges == (18, 120)
