"""The sum of an open table: exact, and moved by one record by no more than its sensitivity."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedloom.common.category_codes import NORM, SYMBOL_CELLS, encode_category
from fedloom.common.discovery import (
    CELL_WEIGHT,
    GROUP_WEIGHT,
    MISSING,
    NUMBER_NORM,
    UNFIT,
    Discovery,
)
from fedloom.common.errors import DataError, SchemaError
from fedloom.common.schema import Column, Schema

SCHEMA = Schema(
    (
        Column("sex", "category", values=("0", "1")),
        Column("fee", "real", open=True),
        Column("visits", "integer", open=True),
        Column("town", "category", open=True),
        Column("seen", "datetime", open=True),
    )
)
NASTY = st.one_of(
    st.none(),
    st.text(max_size=60),
    st.sampled_from(["", "north", "1e5", "-3", "inf", "2020-06-01", "x" * 49, "é" * 24]),
    st.integers(-(10**20), 10**20),
    st.floats(allow_nan=True, allow_infinity=True),
    st.dates(),
    st.booleans(),
)


def frame(rows: list[list[object]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(SCHEMA.names), dtype=object)


def summed(discovery: Discovery, table: pd.DataFrame) -> np.ndarray:
    return discovery.sum(discovery.encode(table).codes)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(NASTY, min_size=5, max_size=5), min_size=3, max_size=3))
def test_any_added_record_moves_the_sum_by_the_sensitivity_at_most(
    rows: list[list[object]],
) -> None:
    discovery = Discovery(SCHEMA)
    before, after = summed(discovery, frame(rows[:2])), summed(discovery, frame(rows))
    change = after - before
    assert np.linalg.norm(change) <= discovery.l2_norm
    for column in discovery.columns:
        moved = np.linalg.norm(change[column.start : column.start + column.size])
        assert 0.9 * column.norm < moved <= column.norm


@pytest.mark.parametrize("text", ["a", "abcdefgh", "a" * 30, "é" * 24])
def test_a_text_spelled_at_full_weight_would_be_caught(text: str) -> None:
    """The twin: with the weight of the shortest texts a longer one moves the sum too far."""
    discovery = Discovery(SCHEMA)
    town = discovery.columns[2]
    table = next(table for table in town.tables if len(text.encode()) <= table.longest)
    norm = town.tables[0].weight * math.sqrt(table.symbols)
    assert (norm <= NORM) is (table is town.tables[0])


def test_sum_holds_what_the_definition_says() -> None:
    discovery = Discovery(SCHEMA)
    table = frame(
        [
            ["0", 12.5, 3, "north", "2020-06-01"],
            ["1", 12.5, None, " north ", "never"],
            ["1", "many", 3.9, None, None],
        ]
    )
    total = summed(discovery, table)
    fee, visits, town, seen = discovery.columns
    expected = np.zeros(discovery.length, dtype=np.int64)
    days = float(np.datetime64("2020-06-01", "D").astype(int))
    for column, value, records in ((fee, 12.5, 2), (visits, 3.0, 2), (seen, days, 1)):
        assert column.axis is not None
        cell = int(column.axis.locate(np.array([value]))[0])
        group = column.axis.size + int(column.axis.groups[cell])
        expected[column.start + 2 + cell] = CELL_WEIGHT * records
        expected[column.start + 2 + group] = GROUP_WEIGHT * records
    expected[fee.start + UNFIT] = NUMBER_NORM
    expected[visits.start + MISSING] = NUMBER_NORM
    expected[seen.start + UNFIT] = expected[seen.start + MISSING] = NUMBER_NORM
    expected[town.start + MISSING] = NORM
    where = town.tables[1]
    bucket, symbols = encode_category("north", column="town", table=where)
    for place, symbol in enumerate(symbols.tolist()):
        cell = (bucket * where.symbols + place) * SYMBOL_CELLS + symbol % SYMBOL_CELLS
        sign = 1 if symbol < SYMBOL_CELLS else -1
        expected[town.start + where.start + cell] += sign * 2 * where.weight
    assert np.array_equal(total, expected)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(NASTY, min_size=5, max_size=5), min_size=2, max_size=6))
def test_records_are_encoded_alone_and_sums_add_up(rows: list[list[object]]) -> None:
    discovery = Discovery(SCHEMA)
    whole = discovery.encode(frame(rows))
    alone = [discovery.encode(frame([row])).codes[0] for row in rows]
    assert np.array_equal(whole.codes, np.stack(alone))
    parts = summed(discovery, frame(rows[:1])) + summed(discovery, frame(rows[1:]))
    assert np.array_equal(discovery.sum(whole.codes), parts)


def test_empty_tables_sum_to_zero() -> None:
    discovery = Discovery(SCHEMA)
    assert not summed(discovery, frame([])).any()


def test_layout_depends_on_the_schema_alone_and_fits() -> None:
    discovery = Discovery(SCHEMA)
    ends = [column.start + column.size for column in discovery.columns]
    assert [column.start for column in discovery.columns] == [0, *ends[:-1]]
    assert ends[-1] == discovery.length
    assert discovery.l2_norm == pytest.approx(math.sqrt(3 * NUMBER_NORM**2 + NORM**2))
    many = Schema(tuple(Column(f"c{i}", "category", open=True) for i in range(30)))
    assert Discovery(many).length <= 1 << 22
    assert Discovery(many).columns[0].tables[0].buckets < discovery.columns[2].tables[0].buckets


def test_refusals() -> None:
    with pytest.raises(SchemaError, match="no column is open"):
        Discovery(Schema(SCHEMA.columns[:1]))
    with pytest.raises(SchemaError, match="learn them in two studies"):
        Discovery(Schema(tuple(Column(f"c{i}", "category", open=True) for i in range(120))))
    with pytest.raises(DataError, match="no column 'fee'"):
        Discovery(SCHEMA).encode(pd.DataFrame({"sex": ["0"]}))
