"""Where a schema was learned stands in it, and nothing else passes for it."""

from __future__ import annotations

from typing import Any

import pytest

from fedloom.common.errors import SchemaError
from fedloom.common.schema import Schema
from fedloom.common.schema_origin import SchemaOrigin

ORIGIN = {
    "columns": ["age"],
    "study": "a" * 64,
    "plan": "b" * 64,
    "runs": 1,
    "epsilon": 0.5,
    "delta": 1e-6,
}
AGE = {"name": "age", "kind": "integer", "min": 0, "max": 120}


def test_origin_is_part_of_the_schema_and_of_its_digest() -> None:
    plain = {"column": [AGE], "learned": [ORIGIN]}
    schema = Schema.from_dict(plain)
    assert schema.to_dict() == plain
    assert schema.learned == (SchemaOrigin(**{**ORIGIN, "columns": ("age",)}),)
    assert schema.digest() != Schema.from_dict({"column": [AGE]}).digest()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"columns": []}, "must list the names"),
        ({"columns": ["fee"]}, "names of the schema's columns"),
        ({"columns": "age"}, "names of the schema's columns"),
        ({"study": "a"}, "study must be a SHA-256"),
        ({"plan": None}, "plan must be a SHA-256"),
        ({"runs": 0}, "runs must be"),
        ({"runs": 1.0}, "runs must be"),
        ({"runs": True}, "runs must be"),
        ({"epsilon": 0.0}, "epsilon must be"),
        ({"epsilon": 1}, "epsilon must be"),
        ({"epsilon": float("inf")}, "epsilon must be"),
        ({"delta": 1.0}, "delta must be below 1"),
        ({"more": 1}, "nothing else"),
    ],
)
def test_refusals(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        Schema.from_dict({"column": [AGE], "learned": [{**ORIGIN, **changes}]})


def test_origins_are_tables() -> None:
    with pytest.raises(SchemaError, match="double brackets"):
        Schema.from_dict({"column": [AGE], "learned": ORIGIN})
    with pytest.raises(SchemaError, match="nothing else"):
        Schema.from_dict({"column": [AGE], "learned": ["x"]})
