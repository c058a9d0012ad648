"""The same value reads the same, whether it comes from CSV, Parquet, a database or pandas."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from fedloom.common.cells import read_categories, read_numbers, read_texts
from fedloom.common.schema import Column

BINARY = Column("c", "category", values=("0", "1"))
NAMED = Column("c", "category", values=("no", "yes", "None"))
WHOLE = Column("n", "integer", minimum=0, maximum=100)
REAL = Column("n", "real", minimum=0, maximum=100)
DATE = Column("d", "datetime", minimum="2020-01-01", maximum="2020-12-31")
TIME = Column("d", "datetime", minimum="2020-01-01T00:00:00", maximum="2020-12-31")


@pytest.mark.parametrize(
    "raw",
    [
        ["0", "1", None],
        ["0.0", " 1 ", None],
        [0.0, 1.0, np.nan],
        pd.array([0, 1, None], dtype="Int64"),
        pd.array([False, True, None], dtype="boolean"),
        [False, True, None],
        [Decimal("0"), Decimal("1.0"), None],
        pd.Categorical(["0", "1", None]),
    ],
)
def test_categories_read_the_same_from_every_type(raw: object) -> None:
    cells = read_categories(BINARY, pd.Series(raw))
    assert cells.values[:2].tolist() == [0, 1]
    assert cells.missing.tolist() == [False, False, True]
    assert not cells.unreadable.any()


def test_categories_outside_the_list_are_unreadable_and_none_can_be_a_value() -> None:
    cells = read_categories(NAMED, pd.Series(["yes", "None", "maybe", None]))
    assert cells.unreadable.tolist() == [False, False, True, False]
    assert cells.values[:2].tolist() == [1, 2]
    assert cells.missing.tolist() == [False, False, False, True]


@pytest.mark.parametrize(
    ("values", "cells", "expected"),
    [
        (("1", "01", "2"), ["01", "1", "1.0", " 01", "001", 2.0, True], [1, 0, 0, 1, 0, 2, 0]),
        (("01", "001"), [1, 1.0, "1", "001", "01.0"], [-1, -1, -1, 1, -1]),
        (("1", "true"), [True, 1, 1.0, "true", "TRUE"], [0, 0, 0, 1, 0]),
        (("1E50", "1E50.0", "1E51"), ["1E50", "1E50.0", "1E51.0"], [0, 1, -1]),
        (
            ("9007199254740993", "9007199254740992"),
            [2**53 + 1, 2**53, "9007199254740993.0", float(2**53), np.uint64(2**53 + 1)],
            [0, 1, 0, 1, 0],
        ),
        (("0", "2.50", "0.00001"), [-0.0, 2.5, Decimal("2.500"), 1e-05, "1e-05"], [0, 1, 1, 2, 2]),
    ],
)
def test_categories_match_by_text_and_only_then_by_value(
    values: tuple[str, ...], cells: list[object], expected: list[int]
) -> None:
    column = Column("c", "category", values=values)
    read = read_categories(column, pd.Series(cells, dtype=object))
    assert read.values.tolist() == expected
    assert read.unreadable.tolist() == [position < 0 for position in expected]


@pytest.mark.parametrize("dtype", ["int64", "float64", "Int64", "Float64", "float32", object])
def test_a_category_is_the_same_whatever_the_type_of_its_number(dtype: str) -> None:
    for values in (("01", "1", "2"), ("1", "true", "2"), ("00", "1.0", "2.0"), ("01", "001", "2")):
        column = Column("c", "category", values=values)
        whole = read_categories(column, pd.Series([1, 2, 7, 1])).values
        assert (read_categories(column, pd.Series([1, 2, 7, 1], dtype=dtype)).values == whole).all()


def test_categoricals_and_arrow_columns_keep_integers_beside_missing_values() -> None:
    column = Column("c", "category", values=("9007199254740993", "9007199254740992"))
    arrow = pd.array([2**53 + 1, None], dtype="int64[pyarrow]")
    for raw in (pd.Categorical([2**53 + 1, None]), arrow):
        cells = read_categories(column, pd.Series(raw))
        assert cells.values[0] == 0 and cells.missing.tolist() == [False, True]
    typed = pd.Series(pd.to_datetime(["2020-01-02", None]))
    days = Column("c", "category", values=("2020-01-02 00:00:00", "x"))
    for raw in (typed, typed.astype(object), typed.astype("category")):
        assert read_categories(days, pd.Series(raw)).values[0] == 0


def test_a_long_numeral_is_rounded_alone_as_among_others() -> None:
    column = Column("n", "real", minimum=0, maximum=1e20)
    for numeral in ("9007199254740993", "18014398509481987", "123456789012345678.9"):
        for others in ([], ["1"], ["0.5"], [None], ["x"], [2**70]):
            raw = pd.Series([numeral, *others], dtype=object)
            assert read_numbers(column, raw).values[0] == float(numeral)


def test_truth_reads_as_word_or_number() -> None:
    words = Column("c", "category", values=("false", "true"))
    for column in (words, BINARY):
        assert read_categories(column, pd.Series([True, False])).values.tolist() == [1, 0]
        assert read_categories(column, pd.Series(["True", "False"])).values.tolist() == [1, 0]


ODD = [
    [[1], {"a": 1}],
    [b"1", 1 + 2j, "5"],
    [10**400, 10**30, 2**63, -1, "7", True, 1],
    [Decimal("NaN"), Decimal("Infinity"), "1e400", "0x10"],
    ["\ud800", "0001-01-01", "2020-01-01T00:00:00.123456789", "9999-12-31", 2020, "2020"],
    [pd.Timestamp("2020-01-01"), pd.Timestamp("2020-01-01", tz="Asia/Tokyo"), dt.time(1)],
    [pd.Period("2020-01-01", freq="D"), pd.Timedelta(1), np.float32(1.5), np.int8(3)],
    [np.timedelta64(3, "D"), np.timedelta64("NaT"), dt.timedelta(1), np.void(b"x"), 3],
    ["True", True, 1, 1.0, "1", "1.0"],
    [10**5000, Decimal("1e999999"), Decimal("1e-999999"), Decimal("sNaN"), "1e+999", 5e-324, "-0"],
]


@pytest.mark.parametrize("column", [BINARY, WHOLE, REAL, DATE, TIME], ids=lambda c: c.kind)
@pytest.mark.parametrize("values", ODD, ids=range(len(ODD)))
def test_odd_values_never_raise_and_read_alone_as_among_others(
    column: Column, values: list[object]
) -> None:
    read = read_categories if column.kind == "category" else read_numbers
    raw = pd.Series(range(len(values)), dtype=object)
    for position, value in enumerate(values):
        raw.iat[position] = value
    among = read(column, raw)
    for position in range(len(values)):
        alone = read(column, raw.iloc[position : position + 1])
        assert alone.missing[0] == among.missing[position]
        assert alone.unreadable[0] == among.unreadable[position]
        assert alone.values[0] == among.values[position]


def test_a_length_of_time_is_no_number() -> None:
    """For numpy it is a kind of integer, which neither int() nor float() takes."""
    raw = pd.Series([None, None], dtype=object)
    raw.iat[0], raw.iat[1] = np.timedelta64(1, "D"), np.timedelta64("NaT")
    for column in (WHOLE, REAL, BINARY):
        cells = (read_categories if column is BINARY else read_numbers)(column, raw)
        assert cells.unreadable.tolist() == [True, False]
        assert cells.missing.tolist() == [False, True]


@pytest.mark.parametrize(
    "raw",
    [
        ["7", " 42.9", None],
        [7, 42.9, None],
        pd.array([7.0, 42.9, None], dtype="Float64"),
        [Decimal("7"), Decimal("42.9"), None],
        pd.Categorical(["7", "42.9", None]),
    ],
)
def test_numbers_read_the_same_from_every_type(raw: object) -> None:
    cells = read_numbers(WHOLE, pd.Series(raw))
    assert cells.values[:2].tolist() == [7, 42]
    assert cells.rounded.tolist() == [False, True, False]
    assert cells.missing.tolist() == [False, False, True]
    assert read_numbers(REAL, pd.Series(raw)).values[:2].tolist() == [7, 42.9]


def test_what_is_no_number_is_unreadable() -> None:
    raw = pd.Series(["seven", "inf", "", dt.date(2020, 1, 1)], dtype=object)
    assert read_numbers(REAL, raw).unreadable.all()
    assert read_numbers(REAL, pd.Series([pd.Timestamp("2020-01-01")])).unreadable.all()


@pytest.mark.parametrize(
    "raw",
    [
        ["2020-01-02", "2020-01-02T23:00:00", None, "soon"],
        [dt.date(2020, 1, 2), dt.datetime(2020, 1, 2, 23), None, "soon"],
        [dt.date(2020, 1, 2), "2020-01-03 01:00:00+02:00", None, "02/01/2020"],
    ],
)
def test_times_read_the_same_from_every_type(raw: list[object]) -> None:
    cells = read_numbers(TIME, pd.Series(raw, dtype=object))
    assert cells.values[:2].tolist() == [1577923200.0, 1577923200.0 + 23 * 3600]
    assert cells.missing.tolist() == [False, False, True, False]
    assert cells.unreadable.tolist() == [False, False, False, True]


@pytest.mark.parametrize(
    "raw",
    [
        ["2020-01-02", "2020-01-02T23:00:00", None, "soon"],
        [dt.date(2020, 1, 2), "2020-01-02 01:00:00+02:00", None, "02/01/2020"],
        [dt.datetime(2020, 1, 2, tzinfo=dt.UTC), "2020-01-02T00:00Z", None, "2020-01-01T22:00Z"],
    ],
)
def test_a_date_is_the_day_that_was_written(raw: list[object]) -> None:
    days = read_numbers(DATE, pd.Series(raw, dtype=object))
    assert days.values[:2].tolist() == [18263, 18263]
    assert days.unreadable.tolist() == [False, False, False, True]


def test_typed_times_read_with_and_without_zone() -> None:
    naive = pd.Series(pd.to_datetime(["2020-01-02 23:00:00", None]))
    assert read_numbers(TIME, naive).values[0] == 1577923200.0 + 23 * 3600
    zoned = naive.dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo")
    assert read_numbers(TIME, zoned).values[0] == 1577923200.0 + 23 * 3600
    assert read_numbers(TIME, pd.Series([5, 6])).unreadable.all()
    far = pd.Series(np.array(["300000-01-01", "2020-01-02"], dtype="datetime64[s]"))
    assert read_numbers(TIME, far).values[1] == 1577923200.0


def test_texts_of_unknown_categories_are_read_alone() -> None:
    raw = pd.Series([1, 1.0, True, " north ", None, "", Decimal("1.50"), "1.0"], dtype=object)
    texts, missing = read_texts(raw)
    assert texts.tolist() == ["1", "1", "1", "north", "", "", "1.5", "1.0"]
    assert missing.tolist() == [False] * 4 + [True] + [False] * 3
    for position in range(len(raw)):
        alone, _ = read_texts(raw.iloc[position : position + 1])
        assert alone.tolist() == [texts[position]]


ZONED = pd.Timestamp("2020-01-01 12:00", tz="UTC")
EQUAL = [
    [ZONED, ZONED.tz_convert("Asia/Tokyo"), ZONED.to_pydatetime()],
    [Decimal("1e-999999"), Decimal("10e-1000000"), Decimal("1e-999999")],
    [10**5000, Decimal("1e5000"), 1],
    [dt.datetime(2020, 1, 1, tzinfo=dt.UTC), ZONED.normalize(), 0.0, -0.0],
]


@pytest.mark.parametrize("values", [*EQUAL, *ODD], ids=range(len(EQUAL) + len(ODD)))
def test_texts_of_equal_or_odd_cells_are_their_own(values: list[object]) -> None:
    """Equal objects are not written alike; no record may change the text of another's."""
    raw = pd.Series(range(len(values)), dtype=object)
    for position, value in enumerate(values):
        raw.iat[position] = value
    for order in (raw, raw[::-1]):
        texts, missing = read_texts(order)
        for position in range(len(values)):
            alone, gone = read_texts(order.iloc[position : position + 1])
            assert alone.tolist() == [texts[position]]
            assert gone.tolist() == [missing[position]]


def test_cells_of_lists_have_texts() -> None:
    texts, missing = read_texts(pd.Series([[1, 2], [3], None, np.array([4, 5])], dtype=object))
    assert texts.tolist() == ["[1, 2]", "[3]", "", "[4 5]"]
    assert missing.tolist() == [False, False, True, False]
    nothing, _ = read_texts(pd.Series([], dtype=object))
    assert nothing.shape == (0,)
