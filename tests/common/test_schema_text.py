"""What is written is read back, whatever stands in it, and comments stay comments."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from fedloom.common.schema import Column, Schema
from fedloom.common.schema_text import schema_text

ORIGIN = {
    "columns": ["a"],
    "study": "a" * 64,
    "plan": "b" * 64,
    "runs": 2,
    "epsilon": 0.5,
    "delta": 1e-6,
}


def test_schema_comes_back(tmp_path: Path, toy_schema: Schema) -> None:
    path = tmp_path / "schema.toml"
    path.write_text(schema_text(toy_schema, head=["one", "two"], notes={"sex": ["three"]}))
    assert Schema.load(path) == toy_schema
    lines = path.read_text().splitlines()
    assert lines[:2] == ["# one", "# two"] and lines.index("# three") == 3


@pytest.mark.parametrize(
    "text", ['"', "\\", "é ☃ 東", "'", "a = 1", "#", "[[column]]", "\x7f", "\t"]
)
def test_values_of_any_kind_come_back(text: str) -> None:
    entries = [
        {"name": "a", "kind": "category", "values": [text, "1"], "description": text},
        {
            "name": "b",
            "kind": "real",
            "min": -1e-9,
            "max": 1e15,
            "edges": [1e-9, 0.1],
            "special": [0],
        },
        {"name": "c", "kind": "integer", "bounds": "private"},
        {"name": "d", "kind": "category", "values": "private", "nullable": True},
    ]
    schema = Schema.from_dict({"column": entries, "learned": [ORIGIN]})
    assert Schema.from_dict(tomllib.loads(schema_text(schema))) == schema


def test_a_comment_cannot_end() -> None:
    schema = Schema((Column("a", "integer", minimum=0, maximum=1),))
    text = schema_text(schema, head=["x\n[[column]]"], notes={"a": ["y\rz\u2028"]})
    assert Schema.from_dict(tomllib.loads(text)) == schema
    assert text.splitlines()[0] == "# x?[[column]]"
