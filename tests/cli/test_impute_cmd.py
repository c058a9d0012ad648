"""`fedloom impute`: gaps are filled, every other byte stays, and the words say whose it is."""

from __future__ import annotations

import datetime as dt
import io

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fedloom.cli.main import main

TABLE = (
    "\ufeffid,age,admitted, discharged,state,city,died\r\n"
    '"1, one",34,2020-03-01,2020-03-09,NY,Albany,no\r\n'
    '2,?,2020-05-01,,"NY",,no\r\n'
    "\r\n"
    '3,  7,,2020-02-03,,"New York, NY",\r\n'
    '"4 ""four""",NA,2020-05-01,2020-05-02,MA,Boston,yes'
)


def imputed(folder, tmp_path, *more, text=TABLE):
    table, out = tmp_path / "table.csv", tmp_path / "filled.csv"
    table.write_bytes(text.encode())
    assert main(["impute", str(folder), str(table), "--out", str(out), "--seed", "3", *more]) == 0
    return out.read_bytes().decode()


def test_only_gaps_change(stays, tmp_path, capsys):
    text = imputed(stays, tmp_path)
    lines, before = text.split("\r\n"), TABLE.split("\r\n")
    assert lines[:2] == before[:2] and lines[3] == "" and len(lines) == len(before)
    assert lines[2].startswith("2,") and lines[2].split(",")[2] == "2020-05-01"
    assert lines[4].startswith("3,  7,") and '2020-02-03,NY,"New York, NY",' in lines[4]
    assert lines[5].startswith('"4 ""four""",') and lines[5].endswith(
        ",2020-05-01,2020-05-02,MA,Boston,yes"
    )
    frame = pd.read_csv(tmp_path / "filled.csv", skipinitialspace=True)
    assert not frame.isna().any().any()
    assert (frame["admitted"] <= frame["discharged"]).all()
    said = capsys.readouterr().err
    assert "7 missing values of 4 records filled" in said
    assert "as private as the table and stays with its owner" in said


def test_a_seed_repeats_and_one_column_may_be_filled(stays, tmp_path):
    text = imputed(stays, tmp_path, "--column", "age")
    assert text == imputed(stays, tmp_path, "--column", "age")
    frame = pd.read_csv(tmp_path / "filled.csv", skipinitialspace=True)
    assert not frame["age"].isna().any() and frame["city"].isna().sum() == 1


def test_a_parquet_table_keeps_its_types_and_other_columns(stays, tmp_path, capsys):
    day = dt.date(2020, 5, 1)
    columns = {
        "age": pa.array([1, None, 3], pa.int16()),
        "admitted": pa.array([day, None, day], pa.date32()),
        "discharged": pa.array([day, day, None], pa.date32()),
        "state": pa.array(["NY", None, "MA"]).dictionary_encode(),
        "city": pa.array(["Albany", None, None]),
        "died": pa.array(["no", "yes", None], pa.large_string()),
        "noted": pa.array([1, None, 3], pa.timestamp("ns")),
    }
    before = pa.table(columns, metadata={"owner": "north"})
    table, out = tmp_path / "table.parquet", tmp_path / "filled.parquet"
    pq.write_table(before, table)
    assert main(["impute", str(stays), str(table), "--out", str(out), "--seed", "1"]) == 0
    after = pq.read_table(out)
    assert after.schema.equals(before.schema, check_metadata=True)
    assert after["noted"].equals(before["noted"]) and after["age"][0] == before["age"][0]
    assert all(after[name].null_count == 0 for name in columns if name != "noted")
    assert after["city"].to_pylist()[2] == "Boston"


def test_a_table_without_gaps_is_copied_byte_for_byte(stays, tmp_path, capsys):
    text = TABLE.split("\r\n")[0] + "\r\n" + TABLE.split("\r\n")[1] + "\r\n"
    assert imputed(stays, tmp_path, text=text) == text
    assert "0 missing values of 1 records" in capsys.readouterr().err


def test_gaps_that_a_broken_record_forbids_stay(stays, tmp_path, capsys):
    """`discharged` must not be before an admission on the last day that there is."""
    text = (
        "age,admitted,discharged,state,city,died\n"
        "1,2020-12-31,,NY,Albany,no\n"
        "1,,2020-01-01,NY,Albany,no\n"
        "1,2020-06-01,2020-05-01,MA,Albany,\n"
    )
    frame = pd.read_csv(io.StringIO(imputed(stays, tmp_path, text=text)))
    assert frame["discharged"][0] == "2020-12-31" and frame["admitted"][1] == "2020-01-01"
    assert frame["died"][2] in ("no", "yes")


@pytest.mark.parametrize(
    "words, message",
    [
        (["table.csv", "--out", "filled.parquet"], "has the ending of the given one"),
        (["nowhere.csv", "--out", "filled.csv"], "no such file"),
        (["table.csv", "--out", "filled.csv", "--column", "agee"], "no column 'agee'"),
        (["table.csv", "--out", "no/filled.csv"], "cannot be written"),
    ],
)
def test_unusable_input_has_a_clear_error(stays, tmp_path, capsys, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "table.csv").write_text(TABLE, "utf-8")
    assert main(["impute", str(stays), *words]) == 2
    assert message in capsys.readouterr().err
