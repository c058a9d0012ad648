"""How cells of a set column are read and written."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedloom.common.column import Column
from fedloom.common.encoding import Encoding
from fedloom.common.errors import SchemaError
from fedloom.common.schema import Schema
from fedloom.common.set_cells import NO_ITEM, read_sets, sets_as_text

VALUES = ("a", "b", "c", "007")
COLUMN = Column("s", "set", values=VALUES, maximum=2)
NULLABLE = Column("s", "set", values=VALUES, maximum=2, nullable=True, separator=";")


def items(column: Column, *cells: object) -> list[list[str]]:
    found = read_sets(column, pd.Series(list(cells), dtype=object)).items
    return [[column.values[item] for item in row if item != NO_ITEM] for row in found]


def test_items_are_read_in_any_form_and_each_counts_once():
    assert items(COLUMN, "b|a", " b | a |", ["a", "b"], ("b", None), {"c", "a"}, 7, "a|a|a") == [
        ["a", "b"],
        ["a", "b"],
        ["a", "b"],
        ["b"],
        ["a", "c"],
        ["007"],
        ["a"],
    ]


def test_the_first_known_items_of_a_record_are_kept():
    found = read_sets(COLUMN, pd.Series(["c|x|c|b|a", "y", "a|b"]))
    assert found.items.tolist() == [[1, 2], [-1, -1], [0, 1]]
    assert found.unknown.tolist() == [1, 1, 0]
    assert found.cut.tolist() == [1, 0, 0]
    assert found.sizes.tolist() == [2, 0, 2]


def test_a_cell_without_a_value_is_an_empty_set_or_missing_where_it_may_be():
    cells = pd.Series([None, np.nan, "|", ";", "", []], dtype=object)
    assert not read_sets(COLUMN, cells).missing.any()
    assert read_sets(NULLABLE, cells).missing.tolist() == [True, True] + [False] * 4


def test_what_is_kept_of_a_record_depends_on_no_other():
    cells = pd.Series(["c|b|a", "a", None, "b|b|c"], dtype=object)
    together = read_sets(COLUMN, cells).items
    alone = [read_sets(COLUMN, cells[i : i + 1]).items[0] for i in range(len(cells))]
    assert together.tolist() == np.array(alone).tolist()


@given(st.lists(st.lists(st.sampled_from(VALUES), max_size=2, unique=True), min_size=1))
def test_sets_that_are_written_are_read_again(rows):
    for column in (COLUMN, NULLABLE):
        cells = pd.Series([column.separator.join(row) or column.separator for row in rows])
        read = read_sets(column, cells)
        texts = sets_as_text(column, read.items, read.missing)
        assert read_sets(column, pd.Series(texts, dtype=object)).items.tolist() == (
            read.items.tolist()
        )
        again = Encoding(Schema((column, Column("x", "category", values=("0", "1")))))
        frame = pd.DataFrame({"s": cells, "x": "0"})
        coded = again.coded(frame)
        decoded = again.decode(coded.features, coded.classes, np.random.default_rng(0))
        assert again.coded(decoded).features.tolist() == coded.features.tolist()


@pytest.mark.parametrize(
    "changes",
    [
        {"max_items": 0},
        {"max_items": 5},
        {"max_items": True},
        {"max_items": None},
        {"values": []},
        {"values": "private"},
        {"values": ["a", "a"]},
        {"values": ["a", "b|c"]},
        {"values": ["a", " b"]},
        {"separator": "b"},
        {"separator": "--"},
        {"separator": " "},
        {"separator": "\0"},
        {"other": "else"},
        {"hierarchy": [["a", "x"], ["b", "x"]]},
        {"bins": 3},
        {"special": [1]},
        {"min": 0},
    ],
)
def test_a_set_that_contradicts_itself_is_refused(changes):
    entry = {"name": "s", "kind": "set", "values": list(VALUES), "max_items": 2}
    assert Column.from_dict(entry, 1) == COLUMN
    changed = {key: value for key, value in (entry | changes).items() if value is not None}
    with pytest.raises(SchemaError):
        Column.from_dict(changed, 1)


@pytest.mark.parametrize("kind", ["integer", "category"])
def test_other_kinds_take_no_settings_of_sets(kind):
    entry = {"name": "s", "kind": kind, "values": ["a", "b"], "separator": ";"}
    with pytest.raises(SchemaError):
        Column.from_dict(entry, 1)


def test_a_set_is_described_as_it_was():
    for column in (COLUMN, NULLABLE):
        assert Column.from_dict(column.to_dict(), 1) == column
    assert COLUMN.to_dict() == {
        "name": "s",
        "kind": "set",
        "max_items": 2,
        "values": list(VALUES),
    }


def test_records_with_images_have_no_sets():
    image = {"height": 8, "width": 8, "channels": 1}
    assert Schema.from_dict({"image": image}).kind.name == "image"
    with pytest.raises(SchemaError):
        Schema.from_dict({"image": image, "column": [COLUMN.to_dict()]})


def test_a_set_is_no_label_and_in_no_constraint():
    with pytest.raises(SchemaError):
        Encoding(Schema((COLUMN, Column("x", "category", values=("0", "1")))), "s")
    number = {"name": "n", "kind": "integer", "min": 0, "max": 3}
    for rule in (
        {"kind": "order", "columns": ["s", "n"]},
        {"kind": "combinations", "columns": ["s", "n"], "rows": [["1", "1"]]},
    ):
        with pytest.raises(SchemaError):
            Schema.from_dict({"column": [COLUMN.to_dict(), number], "constraint": [rule]})


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("code\nb\na\n\nb\n", ("b", "a")),
        ("code,parent\n250,e\n251,e\ne,\nx,x\n", ("250", "251", "x")),
    ],
)
def test_items_may_stand_in_a_file_of_codes_or_of_a_hierarchy(tmp_path, text, wanted):
    (tmp_path / "codes.csv").write_text(text)
    schema = tmp_path / "schema.toml"
    schema.write_text('[[column]]\nname = "s"\nkind = "set"\nvalues = "codes.csv"\nmax_items = 2\n')
    assert Schema.load(schema).column("s").values == wanted


@pytest.mark.parametrize("text", [None, "", "name\na\n"])
def test_a_file_without_codes_is_refused(tmp_path, text):
    if text is not None:
        (tmp_path / "codes.csv").write_text(text)
    schema = tmp_path / "schema.toml"
    schema.write_text('[[column]]\nname = "s"\nkind = "set"\nvalues = "codes.csv"\nmax_items = 1\n')
    with pytest.raises(SchemaError):
        Schema.load(schema)
