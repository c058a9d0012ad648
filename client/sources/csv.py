"""Records in text files with a mark between cells, read as text.

Rows are read by position, and every row must have the header's number of cells: a row of another
length is an error with its line, never filled up or shifted. What the cells mean is said by schema
and source alone (`fedloom.client.sources.dialect`). The one statement about itself that a file may
make is Excel's first line `sep=;`.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from fedloom.client.sources.config import Source
from fedloom.client.sources.layout import RowLengths, header_hint
from fedloom.client.sources.lines import Lines
from fedloom.client.sources.wanted import find_columns
from fedloom.common.errors import DataError
from fedloom.common.text import normal

__all__ = ["csv_format", "read_csv"]

_CHUNK = 1 << 15
_TYPE = pd.Series(["text"]).dtype


def csv_format(separator: str, quote: str | None) -> dict[str, Any]:
    """Returns what `csv.reader` needs to know of a source."""
    return {
        "delimiter": separator,
        "quotechar": None if quote == "" else quote or '"',
        "quoting": csv.QUOTE_NONE if quote == "" else csv.QUOTE_MINIMAL,
        "skipinitialspace": separator != " ",
        "strict": True,
    }


def read_csv(source: Source, names: Sequence[str] | None) -> pd.DataFrame:
    """Reads the columns `names`, or all, of a text file, plain or packed by gzip.

    Raises:
      DataError: the file is not such a table, or lacks a column.
    """
    lines = Lines(source)
    records = _parsed(source, lines)
    header = _header(source, lines, records)
    places = find_columns(
        header, names, source.where, lambda: header_hint(source, lines, names or ())
    )
    rows = _checked(source, lines, records, len(header))
    frames = []
    while part := list(itertools.islice(rows, _CHUNK)):
        cells = [[row[place] for place in places.values()] for row in part]
        frames.append(pd.DataFrame(cells, columns=list(places), dtype=_TYPE))
    empty = pd.DataFrame({name: pd.Series(dtype=_TYPE) for name in places})
    return pd.concat(frames, ignore_index=True) if frames else empty


def _parsed(source: Source, lines: Lines) -> Iterator[tuple[int, list[str]]]:
    """Yields the first line and the cells of each record, the header's included."""
    reading = lines.from_header()
    first = next(reading, None)
    if first is None:
        return
    start = lines.number
    reader = csv.reader(
        itertools.chain([first], reading), **csv_format(lines.separator, source.quote)
    )
    try:
        for record in reader:
            yield start, record
            start = lines.number + 1
    except csv.Error as error:
        until = f" to {lines.number}" if lines.number > start else ""
        raise DataError(
            f"{source.where}, line {start}{until}: {error}; a cell in quotes ends with its quote, "
            "and a quote within it is written twice. Correct the line, or say how cells are quoted "
            "by quote in [source] or --quote, '' where quotes mean nothing"
        ) from None


def _header(source: Source, lines: Lines, records: Iterator[tuple[int, list[str]]]) -> list[str]:
    """Returns the names of all columns."""
    if isinstance(source.header, tuple):
        return list(source.header)
    first = next(records, None)
    if first is None and lines.number and source.header is not None:
        raise DataError(
            f"{source.where}: header = {source.header}, but the file has {lines.number} lines; "
            "give the number of the line that names the columns"
        )
    if first is None:
        raise DataError(f"{source.where}: the file is empty; it needs a header and records")
    return [normal(name).strip() for name in first[1]]


def _checked(
    source: Source, lines: Lines, records: Iterator[tuple[int, list[str]]], num_cells: int
) -> Iterator[list[str]]:
    """Yields the cells of the rows; refuses the file if one does not fit.

    Lines without anything are no records; but where one column is all, a line between others could
    be one.
    """
    lengths = RowLengths(source, lines, num_cells)
    empty: list[tuple[int, list[str]]] = []
    blank = 0
    for number, record in records:
        nothing = not any(cell.strip() for cell in record)
        if not record or (nothing and len(record) == 1 < num_cells):
            blank = blank or number
            continue
        if blank and num_cells == 1:
            raise DataError(
                f"{source.where}, line {blank}: is blank; in a table of one column that is a "
                'missing value or nothing: write "" for the one, delete the line for the other'
            )
        if nothing and num_cells > 1:
            empty.append((number, record))
            continue
        for place, cells in (*empty, (number, record)):
            if lengths.fit(place, cells):
                yield cells
        empty.clear()
    lengths.check()
    if empty:
        raise DataError(
            f"{source.where}, lines {empty[0][0]} to {empty[-1][0]}: hold no value, as the blank "
            "end of a sheet does; delete them, for they would count as records"
        )
