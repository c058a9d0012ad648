"""`fedloom sample`: from runs and releases, typed, conditional, repeatable, and free."""

from __future__ import annotations

import pandas as pd
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
        ({"--where": "age=3"}, "label"),
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
