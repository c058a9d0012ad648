"""A schema that exists is sound, and every refusal names file, column and remedy."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest

from fedloom.common.errors import SchemaError
from fedloom.common.schema import Column, Schema

AGE = {"name": "age", "kind": "integer", "min": 0, "max": 120}
SEX = {"name": "sex", "kind": "category", "values": ["0", "1"]}


def test_file_of_the_docstring_reads_as_it_says(tmp_path: Path) -> None:
    path = tmp_path / "schema.toml"
    path.write_text(
        '[[column]]\nname = "age"\nkind = "integer"\nmin = 0\nmax = 120\nnullable = true\n'
        "special = [0]\nbins = 60\n"
        '[[column]]\nname = "sex"\nkind = "category"\nvalues = ["0", "1"]\nother = "unknown"\n'
        '[[column]]\nname = "seen"\nkind = "datetime"\nmin = 2020-01-01\nmax = "2020-12-31"\n'
        '[[column]]\nname = "at"\nkind = "datetime"\nmin = 2020-01-01\nmax = 2020-12-31T12:00:00\n'
    )
    schema = Schema.load(path)
    assert schema.names == ("age", "sex", "seen", "at")
    age = Column("age", "integer", minimum=0, maximum=120, nullable=True, special=(0,), bins=60)
    assert schema.column("age") == age
    assert schema.column("seen").dates_only
    assert schema.column("seen").maximum == dt.date(2020, 12, 31)
    assert schema.column("at").minimum == dt.datetime(2020, 1, 1)


def test_canonical_form_survives_json(toy_schema: Schema) -> None:
    again = Schema.from_dict(json.loads(json.dumps(toy_schema.to_dict())))
    assert again == toy_schema
    assert again.digest() == toy_schema.digest()


def test_digest_sees_meaning_and_not_spelling() -> None:
    spelled = Schema.from_dict({"column": [AGE | {"nullable": False, "scale": "auto"}]})
    assert spelled.digest() == Schema.from_dict({"column": [AGE]}).digest()
    wider = Schema.from_dict({"column": [AGE | {"max": 121}]})
    assert wider.digest() != spelled.digest()
    integer_spelling = Schema.from_dict({"column": [AGE | {"kind": "real"}]})
    float_spelling = Schema.from_dict({"column": [AGE | {"kind": "real", "min": 0.0}]})
    assert integer_spelling.digest() == float_spelling.digest()


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ([], "no columns"),
        ([AGE, AGE], "'age' is described twice"),
        ([{"kind": "integer"}], "number 1 has no name"),
        ([{"name": " ", "kind": "integer"}], "printable name"),
        ([{"name": "age"}], "no kind; add one of integer"),
        ([AGE | {"kind": "float"}], "choose one of integer, real, category, datetime"),
        ([AGE | {"mim": 3}], "unknown key 'mim'"),
        ([AGE | {"min": 120}], "min 120 is not below max 120"),
        ([AGE | {"max": float("inf")}], "finite number"),
        ([AGE | {"max": 99.5}], "use kind 'real'"),
        ([AGE | {"max": "120"}], "max must be a number"),
        ([AGE | {"max": True}], "max must be a number"),
        ([{"name": "age", "kind": "integer", "min": 0}], "needs min and max"),
        ([AGE | {"values": ["1"]}], "values belong to kind 'category'"),
        ([AGE | {"other": "x"}], "other belongs to kind 'category'"),
        ([AGE | {"special": 0}], "special must be a list"),
        ([AGE | {"special": [0, 0]}], "special lists a value twice"),
        ([AGE | {"max": 1, "special": [0, 1]}], "special leaves no ordinary value"),
        ([AGE | {"bins": 0}], "bins must be a whole number from 1 to"),
        ([AGE | {"scale": "sqrt"}], "choose one of auto, linear, log"),
        ([AGE | {"nullable": "yes"}], "nullable must be a bool"),
        ([{"name": "sex", "kind": "category"}], "needs values"),
        ([SEX | {"values": ["1"]}], "single value"),
        ([SEX | {"values": ["1", ""]}], "nullable = true"),
        ([SEX | {"values": ["1", "a\rb"]}], "on one line"),
        ([SEX | {"other": "a\nb"}], "on one line"),
        ([SEX | {"values": ["0", "0"]}], "lists '0' twice"),
        ([SEX | {"values": "01"}], "values must be a list"),
        ([SEX | {"values": [True, False]}], "list of strings"),
        ([SEX | {"min": 0}], "a category has no min"),
        ([SEX | {"special": ["0"]}], "no special values"),
        ([SEX | {"other": "1"}], "also one of values"),
        ([AGE | {"kind": "datetime"}], "write a date"),
        ([AGE | {"kind": "datetime", "min": "yesterday"}], "write a date"),
        (
            [AGE | {"kind": "datetime", "min": "2020-01-01T00:00:00+01:00"}],
            "in UTC, without an offset",
        ),
    ],
)
def test_refusals_name_what_is_wrong(
    columns: list[dict[str, object]], said: str, tmp_path: Path
) -> None:
    with pytest.raises(SchemaError, match="column") as refusal:
        Schema.from_dict({"column": columns})
    assert said in str(refusal.value)
    name = columns[0].get("name", " ") if columns else " "
    assert name == " " or f"'{name}'" in str(refusal.value)


def test_refusals_of_a_file_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "schema.toml"
    with pytest.raises(SchemaError, match=r"schema\.toml: No such file"):
        Schema.load(path)
    path.write_text("[[column]\n")
    with pytest.raises(SchemaError, match=r"schema\.toml: not valid TOML"):
        Schema.load(path)
    path.write_text('[[column]]\nname = "a"\nkind = "real"\nmin = 2\nmax = 1\n')
    with pytest.raises(SchemaError, match=r"schema\.toml: column 'a': min 2"):
        Schema.load(path)
    path.write_text("[[columns]]\n")
    with pytest.raises(SchemaError, match="unknown key 'columns'"):
        Schema.load(path)


def test_unknown_column_is_refused_with_the_known_ones(toy_schema: Schema) -> None:
    with pytest.raises(SchemaError, match="no column 'agee' in the schema; it has sex, visits"):
        toy_schema.column("agee")
