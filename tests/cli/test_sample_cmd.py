"""`fedloom sample`: from runs and releases, typed, conditional, repeatable, and free."""

from __future__ import annotations

import pandas as pd
import pyarrow.parquet as pq
import pytest

from fedloom.cli.main import main
from fedloom.privacy.ledger import read_ledger


@pytest.mark.parametrize("source", ["run", "release"])
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_rows_have_the_schema_s_columns_and_cost_nothing(built, capsys, tmp_path, source, ending):
    before = read_ledger(built.homes / "north").head
    out = tmp_path / f"rows.{ending}"
    folder = str(getattr(built, source))
    assert main(["sample", folder, "--rows", "50", "--out", str(out)]) == 0
    assert "sampling is free" in capsys.readouterr().err
    frame = pd.read_csv(out) if ending == "csv" else pd.read_parquet(out)
    assert tuple(frame.columns) == built.plan.schema.names and len(frame) == 50
    assert read_ledger(built.homes / "north").head == before


def test_a_condition_on_the_label_is_exact(built, tmp_path):
    out = tmp_path / "rows.csv"
    words = ["sample", str(built.release), "--rows", "40", "--out", str(out)]
    assert main([*words, "--where", "visited=yes"]) == 0
    assert set(pd.read_csv(out)["visited"]) == {"yes"}


def test_a_seed_repeats_the_draw(built, tmp_path):
    texts = []
    for seed in ("1", "1", "2"):
        out = tmp_path / "rows.csv"
        words = ["sample", str(built.run), "--rows", "30", "--out", str(out), "--seed", seed]
        assert main(words) == 0
        texts.append(out.read_text("utf-8"))
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize(
    "change, words",
    [
        ({"--out": "rows.xlsx"}, ".csv or .parquet"),
        ({"--rows": "0"}, "--rows"),
        ({"--where": "age=91"}, "from 0 to 90"),
        ({"--where": "visited=maybe"}, "maybe"),
        ({"--where": "visited"}, "NAME=VALUE"),
        ({"--out": "nowhere/rows.csv"}, "cannot be written"),
    ],
)
def test_unusable_input_has_a_clear_error(built, capsys, tmp_path, change, words):
    options = {"--rows": "5", "--out": "rows.csv", **change}
    options["--out"] = str(tmp_path / options["--out"])
    flat = [word for pair in options.items() for word in pair]
    assert main(["sample", str(built.run), *flat]) == 2
    assert words in capsys.readouterr().err


def test_a_folder_without_a_generator(built, capsys, tmp_path):
    assert main(["sample", str(tmp_path), "--rows", "5", "--out", str(tmp_path / "r.csv")]) == 2
    assert "neither a run nor a release" in capsys.readouterr().err


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_conditions_and_constraints_hold_in_every_row(stays, tmp_path, capsys, ending):
    out = tmp_path / f"rows.{ending}"
    words = ["sample", str(stays), "--rows", "3000", "--out", str(out), "--seed", "1"]
    conditions = ["age=33..57", "admitted=..2020-02-28", "discharged=missing|2020-02-01.."]
    assert main([*words, *(word for text in conditions for word in ("--where", text))]) == 0
    frame = pd.read_csv(out) if ending == "csv" else pd.read_parquet(out)
    assert len(frame) == 3000 and frame["age"].between(33, 57).all()
    admitted, discharged = (pd.to_datetime(frame[name]) for name in ("admitted", "discharged"))
    assert (admitted <= "2020-02-28").all()
    assert (discharged.isna() | (discharged >= "2020-02-01") & (discharged >= admitted)).all()
    cities = set(frame[["state", "city"]].itertuples(index=False, name=None))
    assert cities == {("NY", "Albany"), ("NY", "New York, NY"), ("MA", "Boston")}
    said = capsys.readouterr().err
    assert "kept in every row" in said and "of the rows drawn broke one" in said
    assert "3,000 rows in" in said and "no privacy was spent" in said


def test_a_large_table_comes_in_row_groups_whatever_the_threads(stays, tmp_path):
    paths = [tmp_path / f"{threads}.parquet" for threads in (1, 3)]
    for path, threads in zip(paths, ("1", "3"), strict=True):
        words = ["sample", str(stays), "--rows", "140000", "--out", str(path), "--seed", "1"]
        assert main([*words, "--threads", threads]) == 0
    assert pq.ParquetFile(paths[0]).num_row_groups == 3
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert set(tmp_path.iterdir()) == set(paths)


@pytest.mark.parametrize(
    "condition, message",
    [
        ("age=200..", "its values are from 0 to 99"),
        ("age=young", "is compared with numbers, got 'young'"),
        ("age=60..40", "ends before it begins"),
        ("age=missing", "never missing"),
        ("city=Bostn", "did you mean 'Boston'?"),
        ("agee=3", "did you mean 'age'?"),
        ("admitted=soon", "is compared with times"),
        ("discharged=2019-01-01", "from 2020-01-01 to 2020-12-31"),
    ],
)
def test_conditions_that_cannot_be_met_say_why(stays, tmp_path, capsys, condition, message):
    out = tmp_path / "rows.csv"
    words = ["sample", str(stays), "--rows", "5", "--out", str(out), "--where", condition]
    assert main(words) == 2 and message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_conditions_against_a_constraint_fail_honestly(stays, tmp_path, capsys):
    words = ["sample", str(stays), "--rows", "5", "--out", str(tmp_path / "rows.csv")]
    assert main([*words, "--where", "state=NY", "--where", "city=Boston"]) == 2
    assert "contradict the schema's constraints" in capsys.readouterr().err
