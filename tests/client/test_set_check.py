"""What a steward is told of sets that do not fit the schema."""

from __future__ import annotations

import pandas as pd
import pytest

import fedloom
from fedloom.client.column_check import check_column
from fedloom.client.columns_in_words import columns_in_words
from fedloom.common.column import Column
from fedloom.common.schema import Schema
from fedloom.common.study import parse_study
from fedloom.privacy.resolve import resolve_plan

COLUMN = Column("s", "set", values=("a", "b", "c"), maximum=2)


def report(*cells: object):
    return check_column(COLUMN, pd.Series(list(cells), dtype=object))


def test_sets_that_are_listed_fit_and_empty_ones_too():
    found = report("a|b", None, "", ["c"], "a|a|b")
    assert (found.verdict, found.misfits, found.unknown, found.clamped) == ("fits", 0, 0, 0)


def test_records_with_items_that_are_not_listed_do_not_fit():
    found = report(*["a"] * 96, "x|a", "x", "a|y", "z")
    assert found.verdict == "by name" and found.unknown == found.misfits == 4
    assert found.share == pytest.approx(0.04)
    assert report(*["a"] * 99, "x").verdict == "clamp"
    assert report("a;b", "b;c", "a").verdict == "never"


def test_records_that_are_cut_are_counted_and_fit_unless_they_are_half_of_all():
    found = report(*["a"] * 3, "a|b|c")
    assert (found.verdict, found.clamped) == ("fits", 1)
    assert report("a", "a|b|c").problems


def test_a_steward_reads_how_many_items_of_a_row_are_used():
    schema = Schema((COLUMN, Column("x", "category", values=("0", "1"))))
    raw = {
        "study": {"name": "s", "schema": "schema.toml"},
        "privacy": {"epsilon": 1.0, "delta": 1e-5},
        "site": [{"name": "one"}],
    }
    plan = resolve_plan(parse_study(raw, schema), schema, version=fedloom.__version__)
    line = next(line for line in columns_in_words(plan) if line.startswith("  s: set"))
    assert "3 items" in line and "2 of" in line
