"""What it takes to accept records that do not fit: a flag, a name, or nothing at all."""

from __future__ import annotations

import pandas as pd
import pytest

from fedloom.client.acceptance import check_acceptance
from fedloom.client.data_check import check
from fedloom.client.sources import Source, load_table
from fedloom.common.errors import DataError
from fedloom.common.schema import Column, Schema

ROWS = 200
CREA = Column("crea", "real", minimum=0, maximum=10, nullable=True)
AGE = Column("age", "integer", minimum=0, maximum=120)
SEEN = Column("seen", "datetime", minimum="2020-01-01", maximum="2020-12-31")
SEX = Column("sex", "category", values=("f", "m"))
OTHER = Column("sex", "category", values=("f", "m"), other="else")
OPEN = Column("sex", "category", open=True)


def accepts(column: Column, values: list[object], **said: object) -> bool:
    table = pd.DataFrame({column.name: pd.Series(values, dtype=object)})
    report = check(load_table(table, Schema((column,))), Schema((column,)))
    try:
        check_acceptance(report, **{"clamp": False, **said})  # type: ignore[arg-type]
    except DataError:
        return False
    return True


def mixed(good: object, bad: object, count: int) -> list[object]:
    return [bad] * count + [good] * (ROWS - count)


@pytest.mark.parametrize(
    ("column", "good", "bad"),
    [
        (CREA, "1.5", "high"),
        (CREA, 1.5, 99),
        (AGE, "7", ""),
        (AGE, "7", "7.5"),
        (SEX, "f", "x"),
        (SEEN, "2020-05-01", "soon"),
        (SEEN, "2020-05-01", "2021-05-01"),
    ],
)
def test_few_take_a_flag_more_a_name_and_half_is_never_accepted(
    column: Column, good: object, bad: object
) -> None:
    for count, flag, named in ((0, True, True), (4, True, True), (5, False, True)):
        values = mixed(good, bad, count)
        assert accepts(column, values) is (count == 0)
        assert accepts(column, values, clamp=True) is flag
        assert accepts(column, values, clamp_columns=[column.name]) is named
    for count in (ROWS // 2, ROWS):
        values = mixed(good, bad, count)
        assert not accepts(column, values, clamp=True, clamp_columns=[column.name])


def test_the_share_is_of_the_values_that_are_there() -> None:
    """Of a column that is mostly missing, one reading in two would be noise."""
    values = ["high"] * 10 + ["1.5"] * 8 + [None] * (ROWS - 18)
    assert not accepts(CREA, values, clamp=True, clamp_columns=["crea"])


@pytest.mark.parametrize(
    ("column", "good", "bad"),
    [
        (CREA, "1.5", "1,5"),
        (CREA, "1.5", "1,234.5"),
        (SEEN, "2020-05-01", "01.05.2020"),
        (SEEN, "2020-05-01", "2020-04-30T22:00:00Z"),
        (SEX, "f", "'f'"),
        (OTHER, "f", "'f'"),
        (OPEN, "f", "Ã¼ber"),
    ],
)
def test_what_another_source_would_write_takes_a_name_however_few(
    column: Column, good: object, bad: object
) -> None:
    values = mixed(good, bad, 2) if column is not OPEN else [bad] * ROWS
    assert not accepts(column, values, clamp=True)
    assert accepts(column, values, clamp_columns=[column.name])


@pytest.mark.parametrize("values", [["1.234", "950"], ["1.234"], ["1.000", "2.000"], ["-1.234"]])
def test_a_point_that_may_be_of_thousands_has_to_be_explained(values: list[object]) -> None:
    wide = Column("n", "real", minimum=-1e6, maximum=1e6)
    whole = Column("n", "integer", minimum=-1_000_000, maximum=1_000_000)
    for column in (wide, whole):
        assert not accepts(column, values, clamp=True, clamp_columns=["n"])
    for evidence in ("0.5", "0.123", "1234.567", "1.25", "-0.001", "1.5e3"):
        assert accepts(wide, [*values, evidence])
    assert accepts(wide, [float(str(value)) for value in values])


def test_instants_beside_times_of_a_clock_have_to_be_explained() -> None:
    times = Column("t", "datetime", minimum="2020-01-01T00:00:00", maximum="2020-12-31")
    both: list[object] = ["2020-05-01 12:00", "2020-05-01T12:00+02:00"]
    assert not accepts(times, both, clamp=True, clamp_columns=["t"])
    assert accepts(times, both[:1]) and accepts(times, both[1:])


def test_values_under_a_label_of_their_own_fit_unless_the_whole_column_is_there() -> None:
    assert accepts(OTHER, mixed("f", "x", ROWS // 2))
    assert accepts(OTHER, ["else"] * ROWS)
    assert not accepts(OTHER, ["x"] * ROWS, clamp=True)
    assert accepts(OTHER, ["x"] * ROWS, clamp_columns=["sex"])


def test_rows_of_nobody_are_left_out_by_the_same_measure() -> None:
    for count, flag, named in ((4, True, True), (5, False, True), (100, False, False)):
        ids = [None if row < count else f"p{row}" for row in range(ROWS)]
        table = pd.DataFrame({"age": [7] * ROWS, "patient": ids})
        report = check(table, Schema((AGE,)), id_column="patient")
        assert report.columns[-1].left_out == count
        for said, expected in (({"clamp": True}, flag), ({"clamp_columns": ["patient"]}, named)):
            try:
                check_acceptance(report, **{"clamp": False, **said})  # type: ignore[arg-type]
                accepted = True
            except DataError:
                accepted = False
            assert accepted is expected


def test_a_column_that_is_not_there_cannot_be_named() -> None:
    report = check(pd.DataFrame({"age": [7]}), Schema((AGE,)))
    with pytest.raises(DataError, match="no such column"):
        check_acceptance(report, clamp=False, clamp_columns=["agee"])


def test_a_source_that_explains_itself_is_not_in_doubt(tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "t.csv"
    path.write_text("crea\n1.234\n2.345\n")
    schema = Schema((CREA,))
    for options, values in (({"decimal": "."}, [1.234, 2.345]), ({"thousands": "."}, [1234, 2345])):
        frame = load_table(Source(path=path, **options), schema)  # type: ignore[arg-type]
        assert frame["crea"].tolist() == values
        assert check(frame, schema).fits is ("decimal" in options)
