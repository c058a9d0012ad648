"""From every kind of source, the code of a record depends on that record alone."""

from __future__ import annotations

import csv
import datetime as dt
import sqlite3
import tempfile
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedloom.client.sources import Source, load_table
from fedloom.common.encoding import Encoding
from fedloom.common.schema import Column, Schema

LARGE = 2**53 + 1
VALUES = ("1", "01", "true", "2.5", "a", "0", "00", str(LARGE), str(LARGE - 1), "2020-01-01")
SCHEMA = Schema(
    (
        Column("code", "category", values=VALUES, nullable=True, other="else"),
        Column("whole", "integer", minimum=-5, maximum=2**53, special=(0,), nullable=True),
        Column("real", "real", minimum=-1, maximum=1e17, nullable=True, bins=1024),
        Column("day", "datetime", minimum="2000-01-01", maximum="2030-01-01", nullable=True),
    )
)
ENCODING = Encoding(SCHEMA)
Row = tuple[object, ...]

WHOLE = st.one_of(st.integers(-(2**63), 2**63 - 1), st.sampled_from([0, 1, 2, LARGE, LARGE - 1]))
REAL = st.one_of(st.floats(), st.sampled_from([0.0, 1.0, 2.5, float(LARGE)]))
TEXT = st.one_of(
    st.sampled_from([*VALUES, " 1", "1.0", "001", "", "?", "True", "1e3", "2020-06-01T12:00Z"]),
    WHOLE.map(str),
    REAL.map(str),
    st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=5),
)
DAY = st.dates(dt.date(1990, 1, 1), dt.date(2040, 1, 1))
TIME = st.datetimes(dt.datetime(1990, 1, 1), dt.datetime(2040, 1, 1))
DECIMAL = st.decimals(-(10**6), 10**6, places=2)
ARROW = {
    pa.int64(): WHOLE,
    pa.int8(): st.integers(-128, 127),
    pa.uint64(): st.integers(0, 2**64 - 1),
    pa.float64(): REAL,
    pa.float32(): st.floats(width=32),
    pa.bool_(): st.booleans(),
    pa.string(): TEXT,
    pa.dictionary(pa.int32(), pa.string()): TEXT,
    pa.date32(): DAY,
    pa.timestamp("us"): TIME,
    pa.decimal128(20, 2): DECIMAL,
}


def from_csv(rows: list[Row], folder: Path) -> pd.DataFrame:
    path = folder / "t.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        # A file that ends with rows of empty cells is refused; this last row is cut off again.
        last = ("a", "1", "1", "2020-01-01")
        csv.writer(stream, quoting=csv.QUOTE_ALL).writerows([SCHEMA.names, *rows, last])
    return load_table(path, SCHEMA)[:-1]


def from_sqlite(rows: list[Row], folder: Path) -> pd.DataFrame:
    path = folder / "t.db"
    connection = sqlite3.connect(path)
    connection.execute("DROP TABLE IF EXISTS t")
    connection.execute("CREATE TABLE t (code, whole, real, day)")
    connection.executemany("INSERT INTO t VALUES (?, ?, ?, ?)", rows)
    connection.commit()
    connection.close()
    return load_table(Source(url=f"sqlite:///{path}", query="SELECT * FROM t"), SCHEMA)


def from_memory(rows: list[Row], folder: Path) -> pd.DataFrame:
    columns = zip(*rows, strict=True) if rows else [()] * len(SCHEMA.names)
    cells = zip(SCHEMA.names, columns, strict=True)
    return load_table(
        pd.DataFrame({name: pd.Series(list(column), dtype=object) for name, column in cells}),
        SCHEMA,
    )


def from_parquet(rows: list[Row], folder: Path, types: list[pa.DataType]) -> pd.DataFrame:
    columns = [list(column) for column in zip(*rows, strict=True)] or [[]] * len(types)
    arrays = [pa.array(column, kind) for column, kind in zip(columns, types, strict=True)]
    pa.parquet.write_table(pa.table(arrays, names=list(SCHEMA.names)), folder / "t.parquet")
    return load_table(folder / "t.parquet", SCHEMA)


def codes(frame: pd.DataFrame) -> np.ndarray:
    return ENCODING.encode(frame).codes


def differs(read: Callable[[list[Row], Path], pd.DataFrame], rows: list[Row], left: int) -> bool:
    """Tells whether any code of the other rows changes when row `left` is taken out."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole = np.delete(codes(read(rows, folder)), left, axis=0)
        without = codes(read(rows[:left] + rows[left + 1 :], folder))
    return not np.array_equal(whole, without)


def rows_of(cell: st.SearchStrategy[object]) -> st.SearchStrategy[list[Row]]:
    return st.lists(st.tuples(cell, cell, cell, cell), min_size=1, max_size=5)


SQL_CELL = st.one_of(st.none(), WHOLE, REAL, TEXT)
CELL = st.one_of(SQL_CELL, st.booleans(), DAY, TIME, DECIMAL, st.just(10**400))
KINDS = [(from_csv, TEXT), (from_sqlite, SQL_CELL), (from_memory, CELL)]


@pytest.mark.parametrize(("read", "cell"), KINDS, ids=["csv", "sqlite", "memory"])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_row_changes_no_code_of_another(
    read: Callable[[list[Row], Path], pd.DataFrame],
    cell: st.SearchStrategy[object],
    data: st.DataObject,
) -> None:
    rows = data.draw(rows_of(cell))
    assert not differs(read, rows, data.draw(st.integers(0, len(rows) - 1)))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_row_of_a_parquet_file_changes_no_code_of_another(data: st.DataObject) -> None:
    types = [data.draw(st.sampled_from(list(ARROW))) for _ in SCHEMA.names]
    row = st.tuples(*(st.one_of(st.none(), ARROW[kind]) for kind in types))
    rows = data.draw(st.lists(row, min_size=1, max_size=5))
    left = data.draw(st.integers(0, len(rows) - 1))
    assert not differs(lambda part, folder: from_parquet(part, folder, types), rows, left)


NULL: Row = (None,) * 4


@pytest.mark.parametrize("value", [1, 0, LARGE, LARGE - 1])
@pytest.mark.parametrize("junk", [NULL, ("x",) * 4, (1.5,) * 4, (-(2**60),) * 4], ids=str)
def test_a_null_changes_no_integer(value: int, junk: Row, tmp_path: Path) -> None:
    rows = [(value, value, value, None), junk]
    expected = SCHEMA.columns[0].values.index(str(value))
    for read in (from_sqlite, from_memory):
        assert not differs(read, rows, 1)
        assert codes(read(rows, tmp_path))[0, 0] == expected


def test_integers_of_parquet_are_exact_beside_a_null(tmp_path: Path) -> None:
    types = [pa.int64()] * 3 + [pa.date32()]
    for rows in ([(LARGE, 1, 1, None)], [(LARGE, 1, 1, None), NULL]):
        frame = from_parquet(rows, tmp_path, types)
        assert codes(frame)[0, 0] == VALUES.index(str(LARGE))


@pytest.mark.parametrize("kind", [pa.date32(), pa.date64()], ids=str)
def test_a_date_far_off_leaves_the_dates_of_parquet_as_they_are(
    kind: pa.DataType, tmp_path: Path
) -> None:
    days = pa.array([18262, 10_000_000], pa.int32()).cast(pa.date32()).cast(kind)
    cells = [days, pa.nulls(2), pa.nulls(2), days]
    pa.parquet.write_table(pa.table(cells, names=list(SCHEMA.names)), tmp_path / "t.parquet")
    encoded = codes(load_table(tmp_path / "t.parquet", SCHEMA))
    expected = codes(
        from_memory([(dt.date(2020, 1, 1), None, None, dt.date(2020, 1, 1))], tmp_path)
    )
    assert encoded[0].tolist() == expected[0].tolist()
    assert encoded[0, 0] == VALUES.index("2020-01-01")
    assert encoded[1, 3] == ENCODING.blocks[3].size - 1


def test_columns_converted_as_a_whole_would_be_caught() -> None:
    """The twin: typed columns as pandas infers them, where a NULL makes integers floats."""

    def sql(rows: list[Row], folder: Path) -> pd.DataFrame:
        return pd.DataFrame.from_records(rows, columns=list(SCHEMA.names))

    def parquet(rows: list[Row], folder: Path) -> pd.DataFrame:
        cells = [pa.array(list(column), pa.int64()) for column in zip(*rows, strict=True)]
        return pa.table(cells, names=list(SCHEMA.names)).to_pandas()

    rows = [(LARGE, 1, 1, None), NULL]
    assert codes(from_memory(rows, Path()))[0, 0] == VALUES.index(str(LARGE))
    for read in (sql, parquet):
        assert differs(read, rows, 1)


def test_decimals_and_times_of_a_database_read_as_written() -> None:
    rows: list[Row] = [(Decimal("2.50"), Decimal("3"), 1, dt.datetime(2020, 1, 1, 12)), NULL]
    texts: list[Row] = [("2.50", "3", "1", "2020-01-01T12:00:00"), NULL]
    exact = codes(from_memory(rows, Path()))
    assert exact[0, 0] == VALUES.index("2.5")
    assert np.array_equal(exact, codes(from_memory(texts, Path())))
