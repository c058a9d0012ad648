"""A steward is told what does not fit, where, and what to do."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from fedloom.cli.schema_cmd import schema as schema_command
from fedloom.client.data_check import check
from fedloom.common.schema import Column, Schema

SCHEMA = Schema(
    (
        Column("age", "integer", minimum=0, maximum=120, special=(999,)),
        Column("weight", "real", minimum=0, maximum=300, nullable=True),
        Column("sex", "category", values=("0", "1")),
        Column("town", "category", values=("north", "south"), other="elsewhere"),
        Column("seen", "datetime", minimum="2020-01-01", maximum="2020-12-31"),
    )
)
GOOD = {"age": 40, "weight": None, "sex": "1", "town": "west", "seen": "2020-05-01"}


def frame(**changes: object) -> pd.DataFrame:
    return pd.DataFrame([GOOD, GOOD | {"age": 999}, GOOD | changes], dtype=object)


def test_a_table_that_fits_has_no_problems() -> None:
    report = check(frame(), SCHEMA)
    assert report.fits and report.records == 3
    assert {column.name: column.missing for column in report.columns}["weight"] == 3


@pytest.mark.parametrize(
    ("changes", "column", "said"),
    [
        (
            {"age": 121},
            "age",
            r"1 of 3 values lie outside 0 to 120, such as '121'; widen min and max",
        ),
        ({"age": -1}, "age", "outside 0 to 120"),
        ({"age": "forty"}, "age", "1 of 3 values are not numbers, such as 'forty'"),
        (
            {"age": 40.5},
            "age",
            "1 of 3 values are not whole numbers, such as '40.5'; use kind 'real'",
        ),
        ({"age": None}, "age", "1 of 3 values are missing; set nullable = true"),
        ({"weight": 1e9}, "weight", "outside 0.0 to 300.0"),
        ({"sex": "2"}, "sex", "none of the 2 categories, such as '2'; add them to values"),
        ({"sex": None}, "sex", "1 of 3 values are missing"),
        ({"seen": "01.05.2020"}, "seen", "1 of 3 values are not ISO times"),
        ({"seen": "2021-01-01"}, "seen", "outside 2020-01-01 to 2020-12-31"),
    ],
)
def test_what_does_not_fit_is_named(changes: dict[str, object], column: str, said: str) -> None:
    report = check(frame(**changes), SCHEMA, where="records.csv")
    assert len(report.problems) == 1
    assert report.problems[0].startswith(f"records.csv: column '{column}': ")
    assert pd.Series(report.problems).str.contains(said).all()


def test_ids_of_persons_are_told_apart() -> None:
    table = pd.DataFrame([GOOD | {"patient": number} for number in ("p7", " p7", "p8")])
    report = check(table, SCHEMA, id_column="patient")
    assert report.fits and report.columns[-1].name == "patient"
    assert report.persons is not None
    assert (report.persons.persons, report.persons.most) == (2, 2)
    assert report.persons.kept[1] == pytest.approx(2 / 3) and report.persons.kept[2] == 1.0
    assert report.to_dict()["persons"]["persons"] == 2
    absent = check(frame(), SCHEMA, id_column="patient")
    assert absent.problems == (
        "the table: column 'patient': the table lacks it; add it: it says whose row each is",
    )


def test_rows_without_an_id_and_ids_that_may_be_one_are_named() -> None:
    table = pd.DataFrame([GOOD | {"patient": number} for number in ("7", None, "7.0", "P8", "p8")])
    report = check(table, SCHEMA, id_column="patient")
    problems = report.problems
    assert report.id_problems == problems[1:] and len(problems) == 2
    assert "1 rows have no id, and could be anyone's" in problems[0]
    assert (
        "2 ids differ from another only in how they are written, such as '7' and '7.0'"
        in (problems[1])
    )


def test_records_that_break_a_constraint_are_counted() -> None:
    columns = [{"name": n, "kind": "integer", "min": 0, "max": 9} for n in ("came", "left")]
    order = {"kind": "order", "columns": ["came", "left"]}
    schema = Schema.from_dict({"column": columns, "constraint": [order]})
    assert check(pd.DataFrame({"came": ["1", "2"], "left": ["1", "3"]}), schema).fits
    problems = check(pd.DataFrame({"came": ["1", "4"], "left": ["1", "3"]}), schema).problems
    assert problems[0].startswith("the table: 1 records break came <= left; correct the records")


def test_what_an_open_column_holds_is_not_held_against_it() -> None:
    columns = (Column("age", "integer", open=True), Column("town", "category", open=True))
    table = pd.DataFrame({"age": ["7", "1e5"], "town": ["north", "x"]})
    assert check(table, Schema(columns)).fits
    table["age"] = ["7", "old"]
    assert "1 of 2 values are not numbers" in check(table, Schema(columns)).problems[0]


def test_numbers_too_long_to_print_are_named() -> None:
    report = check(frame(sex=10**5000, town=10**5000, age=10**5000), SCHEMA)
    assert len(report.problems) == 2 and all("such as '0x" in text for text in report.problems)


def test_missing_column_and_empty_table_are_named() -> None:
    problems = check(frame().iloc[:0].drop(columns="sex"), SCHEMA, where="t.csv").problems
    assert "t.csv: the table has no records" in problems[0]
    assert "t.csv: column 'sex': the table lacks it" in problems[1]


def test_command_says_what_it_found_and_exits_by_it(tmp_path: Path) -> None:
    schema_file, data = tmp_path / "schema.toml", tmp_path / "t.csv"
    schema_file.write_text(
        '[[column]]\nname = "age"\nkind = "integer"\nmin = 0\nmax = 120\n'
        '[[column]]\nname = "sex"\nkind = "category"\nvalues = ["0", "1"]\n'
    )
    data.write_text("age,sex\n40,1\n39,0\n")
    run = CliRunner().invoke(schema_command, ["check", str(schema_file), str(data)])
    assert run.exit_code == 0 and "fits the schema" in run.output
    data.write_text("age,sex\n140,1\n39,x\n")
    run = CliRunner().invoke(schema_command, ["check", str(schema_file), str(data)])
    assert run.exit_code == 2
    assert f"{data}: column 'age': 1 of 2 values lie outside 0 to 120" in run.output
    assert f"{data}: column 'sex': 1 of 2 values are none of the 2 categories" in run.output
    run = CliRunner().invoke(schema_command, ["check", str(schema_file), str(data), "--json"])
    assert run.exit_code == 2
    answer = json.loads(run.output)
    assert answer["fits"] is False and len(answer["problems"]) == 2
    assert answer["columns"][0] == {
        "name": "age",
        "missing": 0,
        "clamped": 1,
        "unknown": 0,
        "left_out": 0,
        "misfits": 1,
        "share": 0.5,
        "verdict": "clamp",
    }


def test_the_command_tells_the_steward_what_a_cap_leaves(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(
        '[[column]]\nname = "age"\nkind = "integer"\nmin = 0\nmax = 9\n'
    )
    (tmp_path / "t.csv").write_text("patient,age\na,1\na,2\na,3\nb,4\n")
    words = ["check", str(tmp_path / "s.toml"), str(tmp_path / "t.csv"), "--id", "patient"]
    run = CliRunner().invoke(schema_command, words)
    assert run.exit_code == 0
    assert "2 persons, at most 3 rows of one; rows that rows_per_person leaves: 1: 50%, 2: 75%" in (
        run.output
    )
