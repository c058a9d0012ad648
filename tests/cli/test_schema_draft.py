"""From a codebook or made-up rows to a schema, through the command line."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from fedloom.common.encoding import Encoding
from fedloom.common.schema import Column, Schema
from fedloom.privacy.release.codebook import codebook
from tests.federation import cli

ROWS = "age,town,fee\n41,Xuqa,17.25\n4711,Zolbrim,2.5\n"


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.csv"
    path.write_text(ROWS)
    return path


def test_a_draft_of_rows_loads_and_holds_none_of_their_values(tmp_path: Path, rows: Path) -> None:
    out = tmp_path / "schema.toml"
    done = cli("schema", "draft", rows, "--out", out, "--json")
    assert done.code == 0, done.err
    assert done.json["source"] == "made-up rows" and done.json["loads"] is True
    assert {column["state"] for column in done.json["columns"]} == {"open"}
    assert [column.kind for column in Schema.load(out).open_columns] == [
        "integer",
        "category",
        "real",
    ]
    text = out.read_text()
    assert not [value for value in ("41", "4711", "Xuqa", "Zolbrim", "17.25") if value in text]


def test_a_public_table_fits_its_draft(tmp_path: Path, rows: Path) -> None:
    out = tmp_path / "schema.toml"
    assert cli("schema", "draft", rows, "--out", out, "--public").code == 0
    assert cli("schema", "check", out, rows).code == 0
    lines = out.read_text().splitlines()
    told = [line for line in lines if line.split(" ")[0] in ("kind", "min", "max", "values")]
    assert len(told) == 8 and all(line.endswith("  # from the file") for line in told)


def test_parquet_and_csv_give_one_draft(tmp_path: Path, rows: Path) -> None:
    pd.read_csv(rows).to_parquet(tmp_path / "rows.parquet")
    texts = []
    for name in ("rows.csv", "rows.parquet"):
        out = tmp_path / f"{name}.toml"
        assert cli("schema", "draft", tmp_path / name, "--out", out, "--public").code == 0
        texts.append(out.read_text().replace(name, ""))
    assert texts[0] == texts[1]


def test_a_codebook_is_read_and_its_gaps_are_left_open_or_blank(tmp_path: Path) -> None:
    codes = tmp_path / "codes.csv"
    codes.write_text("name,type,min,max\nage,int,0,120\ntown,string,,\n")
    done = cli("schema", "draft", codes, "--out", tmp_path / "open.toml", "--json")
    assert [column["state"] for column in done.json["columns"]] == ["told", "open"]
    assert Schema.load(tmp_path / "open.toml").open_columns[0].name == "town"
    blank = tmp_path / "blank.toml"
    done = cli("schema", "draft", codes, "--out", blank, "--blanks", "--json")
    assert done.code == 0 and done.json["loads"] is False
    table = tmp_path / "table.csv"
    table.write_text("age,town\n3,Ulm\n")
    assert cli("schema", "check", blank, table).code == 2


def test_an_open_draft_is_what_a_study_of_kind_schema_takes(tmp_path: Path, rows: Path) -> None:
    assert cli("schema", "draft", rows, "--out", tmp_path / "schema.toml").code == 0
    (tmp_path / "learn.toml").write_text(
        '[study]\nname = "learn"\nschema = "schema.toml"\n[privacy]\nepsilon = 1.0\n'
        'delta = 1e-6\n[model]\nkind = "schema"\n[[site]]\nname = "a"\n[[site]]\nname = "b"\n'
    )
    assert cli("study", "check", tmp_path / "learn.toml").code == 0


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, []),
        ("name,type\nage,dog\n", ["--as", "codebook"]),
        ("name,type,min,max\nage,int,9,0\n", []),
        ("a,a\n1,2\n", []),
        ('{"x": 1}', ["--as", "codebook"]),
    ],
)
def test_what_cannot_be_drafted_is_bad_input(
    tmp_path: Path, content: str | None, words: list[str]
) -> None:
    path = tmp_path / "file.csv"
    if content is not None:
        path.write_text(content)
    done = cli("schema", "draft", path, "--out", tmp_path / "schema.toml", *words, "--json")
    assert done.code == 2 and done.json["exit_code"] == 2
    assert not (tmp_path / "schema.toml").exists() and str(path) in done.err


def test_a_completed_schema_is_never_written_over(tmp_path: Path, rows: Path) -> None:
    out = tmp_path / "schema.toml"
    out.write_text("mine")
    assert cli("schema", "draft", rows, "--out", out).code == 2
    assert out.read_text() == "mine"


def test_sets_of_a_codebook_are_sets_of_the_next_schema(tmp_path: Path) -> None:
    column = Column("s", "set", values=("a", "b"), maximum=2, separator=";", nullable=True)
    schema = Schema((column, Column("x", "category", values=("0", "1"))))
    book = tmp_path / "codebook.json"
    book.write_text(json.dumps(codebook(Encoding(schema))))
    out = tmp_path / "schema.toml"
    done = cli("schema", "draft", book, "--out", out, "--json")
    assert done.code == 0 and done.json["loads"] is True, done.err
    assert Schema.load(out).columns == schema.columns


def test_a_releases_codebook_drafts_the_schema_of_the_next_study(
    tmp_path: Path, built: SimpleNamespace
) -> None:
    codebook = built.release / "codebook.json"
    out = tmp_path / "schema.toml"
    done = cli("schema", "draft", codebook, "--out", out, "--json")
    assert done.code == 0 and done.json["loads"] is True, done.err
    told = json.loads(codebook.read_text())
    assert list(Schema.load(out).names) == [column["name"] for column in told["columns"]]
