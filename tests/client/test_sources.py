"""Files become tables with the schema's columns, or errors that a steward can act on."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from fedloom.client.sources import Source, load_table
from fedloom.common.encoding import Encoding
from fedloom.common.errors import DataError
from fedloom.common.schema import Column, Schema

SCHEMA = Schema(
    (
        Column("age", "integer", minimum=0, maximum=120, nullable=True),
        Column("test", "category", values=("None", "Norm"), nullable=True),
    )
)


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.tsv", "t.parquet"])
def test_every_kind_of_file_gives_the_same_codes(
    name: str, tmp_path: Path, toy_schema: Schema, toy_table: pd.DataFrame
) -> None:
    path = tmp_path / name
    shuffled = toy_table[toy_table.columns[::-1]].assign(extra="not in the schema")
    if name.endswith(".parquet"):
        shuffled.to_parquet(path)
    else:
        shuffled.to_csv(path, index=False, sep="\t" if "tsv" in name else ",")
    loaded = load_table(path, toy_schema)
    assert list(loaded.columns) == list(toy_schema.names)
    encoding = Encoding(toy_schema, "label")
    assert (encoding.encode(loaded).codes == encoding.encode(toy_table).codes).all()
    assert (
        encoding.encode(load_table(shuffled, toy_schema)).codes == encoding.encode(toy_table).codes
    ).all()


@pytest.mark.parametrize("name", ["t.csv", "t.parquet", "t"])
def test_the_column_of_the_ids_is_read_beside_the_schemas(name: str, tmp_path: Path) -> None:
    table = pd.DataFrame({"patient": ["7", "?", ""], "test": ["Norm"] * 3, "age": [1, 2, 3]})
    path = tmp_path / name
    if name.endswith("csv"):
        table.to_csv(path, index=False)
    elif name.endswith("parquet"):
        table.to_parquet(path)
    source = path if path.exists() else table
    loaded = load_table(source, SCHEMA, id_column="patient")
    assert list(loaded.columns) == ["age", "test", "patient"]
    assert loaded["patient"].isna().tolist() == [False, True, True] and loaded["patient"][0] == "7"
    with pytest.raises(DataError, match="no column 'patients' .did you mean 'patient'"):
        load_table(source, SCHEMA, id_column="patients")


def test_missing_markers_yield_to_listed_categories(tmp_path: Path) -> None:
    text = "age,test\n39,None\n?,Norm\n,?\nNA,NA\n"
    loaded = load_table(write(tmp_path / "t.csv", text), SCHEMA)
    assert loaded["age"].isna().tolist() == [False, True, True, True]
    assert loaded["test"].isna().tolist() == [False, False, True, True]
    assert loaded["test"][0] == "None"
    source = Source(path=tmp_path / "t.csv", missing=("",))
    assert load_table(source, SCHEMA)["age"].isna().tolist() == [False, False, True, False]


def test_spaces_marks_and_quotes_of_csv_files(tmp_path: Path) -> None:
    text = '\ufeffid, age, test\n1, 39, "Norm"\n2, ?, None\n'
    loaded = load_table(write(tmp_path / "t.csv", text), SCHEMA)
    assert loaded["age"].tolist()[0] == "39" and loaded["age"].isna().tolist() == [False, True]
    codes = Encoding(SCHEMA).encode(loaded)
    assert not any(codes.unknown.values())


def test_integers_of_parquet_stay_whole_beside_missing_values(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    frame = pd.DataFrame({"age": pd.array([7, None], dtype="Int64"), "test": ["Norm", "None"]})
    frame.to_parquet(path)
    codes = Encoding(SCHEMA).encode(load_table(path, SCHEMA)).codes
    assert codes.tolist() == [[7, 1], [121, 0]]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("absent.csv", None, "no such file"),
        ("t.doc", "", "unknown kind of file"),
        ("t.xlsx", "age,test\n", "not an Excel file"),
        ("t.csv", "", "the file is empty"),
        ("t.csv", "agee,test\n1,Norm\n", "no column 'age' .did you mean 'agee'"),
        ("t.csv", "age,age,test\n1,1,Norm\n", "'age' appears twice"),
        ("t.csv", "age,test\n1,Norm\n2,Norm,3\n", "give every row 2 cells"),
        ("t.csv", "age,test\n1,Norm,3\n", "line 2: 3 cells where the header names 2"),
        ("t.csv.gz", "age\n1\n", "no column 'test'"),
        ("t.parquet", "age,test\n", "not a Parquet file"),
    ],
)
def test_refusals_name_file_and_remedy(
    name: str, text: str | None, said: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    if text is not None:
        write(path, text)
    with pytest.raises(DataError, match=said) as refusal:
        load_table(path, SCHEMA)
    assert str(path) in str(refusal.value)


def test_header_alone_is_an_empty_table(tmp_path: Path) -> None:
    assert load_table(write(tmp_path / "t.csv", "age,test\n"), SCHEMA).shape == (0, 2)


def test_configuration_of_a_source_is_checked(tmp_path: Path) -> None:
    config = Source.from_dict({"path": "t.csv", "missing": ["-"]}, tmp_path)
    assert config.path == tmp_path / "t.csv" and config.missing == ("-",)
    for wrong, said in (
        ({}, "needs either path, or url and query"),
        ({"path": "a.csv", "url": "sqlite:///x", "query": "SELECT 1"}, "give one of the two"),
        ({"url": "sqlite:///x"}, "needs both url and query"),
        ({"file": "a.csv"}, "unknown key 'file'"),
        ({"path": 3}, "path must be a string"),
        ({"path": "a.csv", "missing": "?"}, "missing must be a list"),
    ):
        with pytest.raises(DataError, match=said):
            Source.from_dict(wrong, tmp_path)
