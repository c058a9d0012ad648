"""Of a table names and kinds alone are taken, unless its owner says that everybody may know it."""

from __future__ import annotations

import tomllib
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedloom.client.data_check import check
from fedloom.client.draft_table import MAX_CATEGORIES, draft_table
from fedloom.common.draft import draft_text
from fedloom.common.schema import Schema

KINDS = {
    "integer": ["1", "-20", "3"],
    "real": ["1.5", "2", "1e-3"],
    "category": ["a", "b", "3"],
    "datetime": ["2020-01-31", "2020-02-01T10:00:00", "2020-03-01T10:00:00+02:00"],
}


def draft(frame: pd.DataFrame, *, public: bool, blanks: bool = False) -> str:
    made = draft_table(frame, public=public, form="a table")
    return draft_text(made, name="table.csv", blanks=blanks)


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_are_read_from_text(kind: str) -> None:
    frame = pd.DataFrame({"x": [*KINDS[kind], None, "NA"]})
    assert draft_table(frame, public=False, form="").columns[0].kind == kind


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        ([True, False], "category"),
        ([3.0, np.nan], "integer"),
        ([Decimal("1.50"), None], "real"),
        (pd.to_datetime(["2020-01-01", "2020-01-02"]), "datetime"),
        (["007", "012"], "category"),
        (["0", "1"], "category"),
        ([str(2**53), "1"], "real"),
        (["nan1", "1"], "category"),
        ([None, None], None),
    ],
)
def test_kinds_of_cells_that_mislead(cells: object, kind: str | None) -> None:
    frame = pd.DataFrame({"x": cells})
    assert draft_table(frame, public=False, form="").columns[0].kind == kind


TABLES = st.integers(1, 8).flatmap(
    lambda rows: st.fixed_dictionaries(
        {
            "a": st.lists(st.integers(1000, 9999), min_size=rows, max_size=rows),
            "b": st.lists(
                st.floats(1000, 9999).map(lambda x: round(x, 3)), min_size=rows, max_size=rows
            ),
            "c": st.lists(
                st.sampled_from(["Xuqa", "Zolbrim", "Wyrp"]), min_size=rows, max_size=rows
            ),
            "d": st.lists(
                st.dates(pd.Timestamp("1900-01-01").date(), pd.Timestamp("2099-01-01").date()).map(
                    str
                ),
                min_size=rows,
                max_size=rows,
            ),
        }
    )
)


@settings(max_examples=40, deadline=None)
@given(TABLES)
def test_the_draft_of_a_made_up_table_says_nothing_of_its_values(cells: dict[str, list]) -> None:
    frame = pd.DataFrame({name: [str(value) for value in column] for name, column in cells.items()})
    told = draft(frame, public=False)
    assert told == draft(frame.iloc[:1], public=False)
    assert not [text for text in frame.to_numpy().ravel() if text in told]


def test_the_same_table_as_a_public_one_tells_its_values() -> None:
    frame = pd.DataFrame({"a": ["17", "4711"], "c": ["Xuqa", "Wyrp"], "d": ["1.25", "7.5"]})
    told = draft(frame, public=True)
    for line in (
        "min = 17  # from the file",
        "max = 4711  # from the file",
        'values = ["Wyrp", "Xuqa"]  # from the file',
        "max = 7.5  # from the file",
    ):
        assert line in told.splitlines()
    assert "2 decimals in the file" in told


@settings(max_examples=40, deadline=None)
@given(TABLES)
def test_a_public_table_fits_the_schema_drafted_from_it(cells: dict[str, list]) -> None:
    frame = pd.DataFrame({name: [str(value) for value in column] for name, column in cells.items()})
    frame["whole"] = ["1", "2"] * (len(frame) // 2) + ["1"] * (len(frame) % 2)
    frame.loc[len(frame)] = [None, None, "Xuqa", None, "2"]
    frame.loc[len(frame)] = ["1", "1.5", "Wyrp", "2020-01-01", "1"]
    schema = Schema.from_dict(tomllib.loads(draft(frame, public=True)))
    assert check(frame[list(schema.names)], schema).fits


def test_identifiers_and_constants_of_a_public_table_are_no_columns() -> None:
    rows = MAX_CATEGORIES + 1
    frame = pd.DataFrame(
        {
            "who": [f"P{number}" for number in range(rows)],
            "site": ["north"] * rows,
            "grade": ["1", "2", "10"] * (rows // 3) + ["1"] * (rows % 3),
        }
    )
    made = draft_table(frame.assign(grade=frame["grade"] + "a"), public=True, form="")
    assert set(made.left_out) == {"site"}
    who, grade = made.columns
    assert not who.known and "identifier" in who.hints[0]
    assert grade.values == ("10a", "1a", "2a")


@pytest.mark.parametrize(
    "cells, told",
    [
        (["a|b", "b", "a", "b|a", "c|a"] * 4, '"|"'),
        (["a; b", "b", "a; b; c"] * 4, '";"'),
        (["a", "b"] * 10, None),
        ([f"note {i} | text {i}" for i in range(20)], None),
    ],
)
def test_cells_of_several_items_are_told_apart(cells: list[str], told: str | None) -> None:
    (column,) = draft_table(pd.DataFrame({"x": cells}), public=False, form="").columns
    hints = [hint for hint in column.hints if 'kind = "set"' in hint]
    assert [told in hint for hint in hints] == ([] if told is None else [True])
