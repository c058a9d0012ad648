"""A table reads as its dialect says; without a word of it, it reads the same or not at all."""

from __future__ import annotations

import csv
import datetime as dt
import io
import tempfile
import zoneinfo
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedloom.client.data_check import check
from fedloom.client.sources import Source, load_table
from fedloom.client.sources.dialect import in_dialect
from fedloom.common.cells import read_categories, read_numbers
from fedloom.common.errors import DataError
from fedloom.common.schema import Column, Schema

# Letters that cp1252, Latin-1 and ISO 8859-15 write alike; no two of them are a letter of UTF-8.
TOWNS = (
    "Köln",
    "Düren",
    "Besançon",
    "Málaga",
    "a b",
    "x,y",
    "p;q",
    "r|s",
    "7",
    "o'clock",
    'in "q"',
)
SCHEMA = Schema(
    (
        Column("Größe, m", "real", minimum=-1e7, maximum=1e7, nullable=True),
        Column("count", "integer", minimum=-(10**7), maximum=10**7, nullable=True),
        Column("Stadt", "category", values=TOWNS, nullable=True),
        Column("born", "datetime", minimum="1900-01-01", maximum="2100-01-01", nullable=True),
        Column(
            "seen", "datetime", minimum="1900-01-01T00:00:00", maximum="2100-01-01", nullable=True
        ),
    )
)


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """How a table is written; `options` says so."""

    separator: str
    quote: str
    quoting: int
    encoding: str
    end: str
    decimal: str
    thousands: str
    day: str
    time: str
    header: str
    above: int

    def options(self) -> dict[str, Any]:
        said: dict[str, Any] = {
            "separator": self.separator,
            "quote": self.quote,
            "encoding": self.encoding,
            "decimal": self.decimal,
            "date_format": {"born": self.day, "seen": self.time},
        }
        if self.thousands:
            said["thousands"] = self.thousands
        if self.header == "absent":
            said["header"] = list(SCHEMA.names)
        elif self.above:
            said["header"] = self.above + 1
        return said

    def number(self, value: float | int | None) -> str:
        if value is None:
            return ""
        whole, _, rest = f"{abs(value):.3f}".partition(".")
        groups = f"{int(whole):,}".replace(",", self.thousands) if self.thousands else whole
        rest = rest.rstrip("0")
        return ("-" if value < 0 else "") + groups + (self.decimal + rest if rest else "")

    def write(self, path: Path, rows: list[tuple[Any, ...]]) -> None:
        cells = [
            (
                self.number(size),
                self.number(count),
                town or "",
                born.strftime(self.day) if born else "",
                seen.strftime(self.time) if seen else "",
            )
            for size, count, town, born, seen in rows
        ]
        stream = io.StringIO()
        if self.header == "there":
            stream.write(f"Ward 3{self.end}" * self.above)
        writer = csv.writer(
            stream,
            delimiter=self.separator,
            quotechar=self.quote,
            quoting=self.quoting,  # type: ignore[arg-type]
            lineterminator=self.end,
        )
        if self.header != "absent":
            writer.writerow(SCHEMA.names)
        writer.writerows(cells)
        path.write_bytes(stream.getvalue().encode(self.encoding))


DIALECTS = st.builds(
    Dialect,
    separator=st.sampled_from([",", ";", "\t", "|", ":", " "]),
    quote=st.sampled_from(['"', "'"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "latin-1", "cp1252", "utf-16", "utf-16-be"]),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    decimal=st.sampled_from([".", ","]),
    thousands=st.sampled_from(["", ".", ",", "'", " "]),
    day=st.sampled_from(["%Y-%m-%d", "%Y%m%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%d-%b-%Y"]),
    time=st.sampled_from(["%Y-%m-%d %H:%M:%S", "%d.%m.%Y %H:%M:%S", "%Y%m%d%H%M%S"]),
    header=st.sampled_from(["there", "absent"]),
    above=st.sampled_from([0, 0, 2]),
).filter(lambda dialect: dialect.decimal != dialect.thousands)
TENTHS = st.integers(-(10**9), 10**9).map(lambda number: number / 1000)
ROW = st.tuples(
    st.none() | TENTHS | st.integers(-9999, 9999),
    st.none() | st.integers(-(10**6), 10**6),
    st.none() | st.sampled_from(TOWNS),
    st.none() | st.dates(dt.date(1901, 1, 1), dt.date(2099, 1, 1)),
    st.none()
    | st.datetimes(dt.datetime(1901, 1, 1), dt.datetime(2099, 1, 1)).map(
        lambda moment: moment.replace(microsecond=0)
    ),
)
ROWS = st.lists(
    ROW.filter(lambda row: any(cell is not None for cell in row)), min_size=1, max_size=8
)


def values(frame: pd.DataFrame) -> list[list[Any]]:
    """What the cells mean: numbers on the axis, places of categories, None for missing."""
    found = []
    for column in SCHEMA.columns:
        read = read_categories if column.kind == "category" else read_numbers
        cells = read(column, frame[column.name])
        assert not cells.unreadable.any(), column.name
        found.append(
            [
                None if gone else value
                for value, gone in zip(cells.values, cells.missing, strict=True)
            ]
        )
    return found


def meant(rows: list[tuple[Any, ...]]) -> list[list[Any]]:
    frame = pd.DataFrame(
        {
            name: pd.Series(list(cells), dtype=object)
            for name, cells in zip(SCHEMA.names, zip(*rows, strict=True), strict=True)
        }
    )
    return values(load_table(frame, SCHEMA))


def written(dialect: Dialect, rows: list[tuple[Any, ...]], folder: Path) -> Path:
    path = folder / "table.csv"
    dialect.write(path, rows)
    return path


@settings(max_examples=150, deadline=None)
@given(dialect=DIALECTS, rows=ROWS)
def test_with_its_options_a_table_reads_as_it_was_written(dialect: Dialect, rows: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = written(dialect, rows, Path(folder))
        options = dialect.options()
        if dialect.encoding == "utf-8-sig":
            options["encoding"] = "utf-8"
        frame = load_table(Source(path=path, **options), SCHEMA)
    assert check(frame, SCHEMA).fits
    assert values(frame) == meant(rows)


@settings(max_examples=300, deadline=None)
@given(dialect=DIALECTS, rows=ROWS)
def test_without_its_options_a_table_reads_the_same_or_not_at_all(
    dialect: Dialect, rows: Any
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = written(dialect, rows, Path(folder))
        try:
            frame = load_table(path, SCHEMA)
        except DataError:
            return
    if check(frame, SCHEMA).fits:
        assert values(frame) == meant(rows)


@settings(max_examples=300, deadline=None)
@given(dialect=DIALECTS, rows=ROWS, data=st.data())
def test_with_some_of_its_options_a_table_reads_the_same_or_not_at_all(
    dialect: Dialect, rows: Any, data: st.DataObject
) -> None:
    """What is left out may be anything but the marks of numbers, which one of them explains."""
    said = dialect.options()
    together = {"decimal", "thousands"} & set(said)
    kept = data.draw(st.sets(st.sampled_from(sorted(set(said) - together))))
    kept |= together if data.draw(st.booleans()) else set()
    with tempfile.TemporaryDirectory() as folder:
        path = written(dialect, rows, Path(folder))
        try:
            frame = load_table(Source(path=path, **{name: said[name] for name in kept}), SCHEMA)
        except DataError:
            return
    if check(frame, SCHEMA).fits:
        assert values(frame) == meant(rows)


def test_a_reader_that_takes_commas_for_points_would_be_caught() -> None:
    """The twin: what pandas makes of a decimal comma in a column of thousands."""
    rows = [(1234.0, 1, "Köln", None, None), (5.0, 2, "Köln", None, None)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        german = Dialect(
            separator=",",
            quote='"',
            quoting=csv.QUOTE_MINIMAL,
            encoding="utf-8",
            end="\n",
            decimal=",",
            thousands=".",
            day="%Y-%m-%d",
            time="%Y-%m-%d %H:%M:%S",
            header="there",
            above=0,
        )
        german.write(path, rows)
        naive = pd.read_csv(path)
        assert naive["Größe, m"].tolist() == [1.234, 5.0] != [row[0] for row in rows]
        assert not check(load_table(path, SCHEMA), SCHEMA).fits
        assert values(load_table(Source(path=path, **german.options()), SCHEMA)) == meant(rows)


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York"])
@given(written_as=st.datetimes(dt.datetime(1990, 1, 1), dt.datetime(2037, 1, 1)))
@settings(max_examples=50, deadline=None)
def test_times_of_a_clock_are_read_in_its_zone(zone: str, written_as: dt.datetime) -> None:
    local = written_as.replace(microsecond=0)
    aware = local.replace(tzinfo=zoneinfo.ZoneInfo(zone))
    back = aware.astimezone(dt.UTC).astimezone(aware.tzinfo).replace(tzinfo=None)
    source = Source(path="t.csv", time_zone=zone)
    raw = pd.Series([local.isoformat(" "), local.isoformat()], dtype=object)
    times = read_numbers(SCHEMA.columns[4], in_dialect(SCHEMA.columns[4], raw, source))
    days = read_numbers(SCHEMA.columns[3], in_dialect(SCHEMA.columns[3], raw, source))
    if back != local:
        assert times.unreadable.all()
        return
    assert times.values.tolist() == [aware.timestamp()] * 2
    assert days.values.tolist() == [(local.date() - dt.date(1970, 1, 1)).days] * 2
