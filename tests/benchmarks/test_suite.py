"""The suite goes on where it was stopped, tells time-outs, and its made tables hold their truth."""

from __future__ import annotations

import json

import causal
import numpy as np
import pytest
from other_targets import column_questions
from suite_figure import drawn, markdown
from suite_results import key, newest

LINE = {
    "table": "adult",
    "system": "tree",
    "epsilon": 1.0,
    "seed": 0,
    "status": "done",
    "boosting": 0.9,
    "tv_2": 0.03,
    "c2st": 0.6,
}


def test_the_newest_line_of_a_cell_counts_and_a_line_that_was_cut_off_is_none(tmp_path):
    path = tmp_path / "suite.jsonl"
    again = {**LINE, "boosting": 0.8}
    path.write_text(json.dumps(LINE) + "\n" + json.dumps(again) + "\n" + '{"table": "ad')
    assert newest(path) == {key(LINE): again}
    assert newest(tmp_path / "absent.jsonl") == {}


def test_a_time_out_is_told_as_one_and_has_no_mark():
    late = {key_: LINE[key_] for key_ in ("table", "epsilon", "seed")}
    late |= {"system": "dpmm AIM", "status": "time-out", "seconds": 600.0}
    rows = markdown([LINE, late], ["adult"], ["tree", "dpmm AIM"], [1.0])
    assert [row.split("|")[4].strip() for row in rows[2:]] == ["0.900 / - / -", "time-out"]
    picture = drawn([LINE, late], ["adult"])
    assert "dpmm AIM" not in picture and picture.count('transform="translate') == 1 + 3


def test_seeds_are_averaged():
    rows = markdown([LINE, {**LINE, "seed": 1, "boosting": 0.8}], ["adult"], ["tree"], [1.0])
    assert "0.850 / - / -" in rows[2]


def test_the_drug_looks_useless_and_is_not():
    records = causal.records(12_000, 1)
    recovered = records[causal.TARGET] == "yes"
    given = records["drug"] == "yes"
    assert recovered[given].mean() < recovered[~given].mean()
    assert causal.effect_error(records) < 0.03
    apart = records.assign(drug=np.random.default_rng(0).permutation(records["drug"]))
    assert causal.effect_error(apart) > 0.08, "a table without the effect would not be seen"


def test_questions_about_columns_find_what_a_shuffled_table_has_lost():
    records, test = causal.records(4000, 1), causal.records(2000, 2)
    rng = np.random.default_rng(0)
    apart = records.apply(lambda column: rng.permutation(column.to_numpy()))
    kept = column_questions(records, test, causal.SCHEMA, causal.TARGET)
    lost = column_questions(apart, test, causal.SCHEMA, causal.TARGET)
    assert kept > 0.75 and lost == pytest.approx(0.5, abs=0.08)
