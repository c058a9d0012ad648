"""Records in Excel files: the cells of one sheet, as they are stored.

Numbers, dates and truth values are taken with the types that Excel gave them, whatever the sheet
shows; of a formula the value that was saved with it. Texts are read as in any other source. What a
sheet can hold that no table has is an error with its row: merged cells, formulas without a saved
value, rows below an empty one.
"""

from __future__ import annotations

import itertools
import re
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from typing import Any
from xml.etree import ElementTree

import openpyxl
import pandas as pd
from openpyxl.utils import get_column_letter
from openpyxl.utils.exceptions import InvalidFileException

from fedloom.client.sources.config import Source
from fedloom.client.sources.options import remedy
from fedloom.client.sources.wanted import find_columns
from fedloom.common.cells import cell_text
from fedloom.common.errors import DataError

__all__ = ["read_excel"]

_OLD = b"\xd0\xcf\x11\xe0"
_RANGE = re.compile(r"([A-Z]+)(\d+):([A-Z]+)(\d+)\Z")

Row = tuple[Any, ...]


def read_excel(source: Source, names: Sequence[str] | None) -> pd.DataFrame:
    """Reads the columns `names`, or all, of a sheet.

    Raises:
      DataError: the file is no such table, or lacks a column.
    """
    path = source.file
    with path.open("rb") as stream:
        if stream.read(4) == _OLD:
            raise DataError(
                f"{path}: has a password, or is of the old kind (.xls) with another name; save it "
                "as .xlsx without a password"
            )
    broken = (InvalidFileException, zipfile.BadZipFile, KeyError, ValueError, TypeError, OSError)
    try:
        with warnings.catch_warnings(), zipfile.ZipFile(path) as archive:
            warnings.simplefilter("ignore", UserWarning)  # of styles that are not ours to keep
            saved = openpyxl.load_workbook(path, read_only=True, data_only=True)
            written = openpyxl.load_workbook(path, read_only=True, data_only=False)
            try:
                sheet = _sheet(source, [sheet.title for sheet in saved.worksheets])
                rows = _rows(source, saved[sheet], written[sheet])
                return _table(source, names, rows, _merged(archive, sheet))
            finally:
                saved.close()
                written.close()
    except broken as error:
        raise DataError(f"{path}: not an Excel file: {error}; save it again as .xlsx") from None


def _sheet(source: Source, sheets: list[str]) -> str:
    if source.sheet is None and len(sheets) == 1:
        return sheets[0]
    listed = ", ".join(f"'{sheet}'" for sheet in sheets) or "none with cells"
    if source.sheet is None:
        name = sheets[0] if sheets else "NAME"
        raise DataError(f"{source.where}: has the sheets {listed}; {remedy(sheet=name)}")
    if source.sheet not in sheets:
        raise DataError(f"{source.where}: no sheet '{source.sheet}'; it has {listed}")
    return source.sheet


def _rows(source: Source, saved: Any, written: Any) -> Iterator[tuple[int, Row]]:
    """Yields number and cells of each row; formulas need the value that was saved with them."""
    for sheet in (saved, written):
        sheet.reset_dimensions()  # what a file says of its size may be wrong
    pairs = zip(saved.iter_rows(values_only=True), written.iter_rows(values_only=True), strict=True)
    for number, (values, texts) in enumerate(pairs, 1):
        for place, (value, text) in enumerate(zip(values, texts, strict=True), 1):
            if value is None and text is not None:
                raise DataError(
                    f"{source.where}: cell {get_column_letter(place)}{number} is a formula whose "
                    "value was not saved; open the file in Excel and save it, or save it as CSV"
                )
        yield number, values


def _table(
    source: Source, names: Sequence[str] | None, rows: Iterator[tuple[int, Row]], merged: list[str]
) -> pd.DataFrame:
    rows, ahead = itertools.tee(rows, 2)
    header, first = _header(source, ahead)
    places = find_columns(header, names, source.where, lambda: _hint(source, header))
    for cells in merged:
        found = _RANGE.match(cells)
        if found is not None and int(found[4]) >= first:
            raise DataError(
                f"{source.where}: the cells {cells} are merged, and all but the first hold "
                "nothing; split them and fill in each"
            )
    kept: list[list[Any]] = []
    empty = 0
    for number, row in rows:
        if number <= first and not isinstance(source.header, tuple):
            continue
        if all(cell is None or (isinstance(cell, str) and not cell.strip()) for cell in row):
            empty = empty or number
            continue
        if empty:
            raise DataError(
                f"{source.where}: row {empty} is empty and row {number} is not; delete empty rows, "
                "and what stands below the table"
            )
        padded = (*row, *(None,) * len(header))
        if any(cell is not None for cell in row[len(header) :]):
            raise DataError(
                f"{source.where}: row {number} has more cells than the header names; name every "
                "column, or delete what stands beside the table"
            )
        kept.append([padded[place] for place in places.values()])
    columns = zip(*kept, strict=True) if kept else [()] * len(places)
    # Cells stay single objects: a type for the column would make integers beside gaps floats.
    return pd.DataFrame(
        {
            name: pd.Series(list(cells), dtype=object)
            for name, cells in zip(places, columns, strict=True)
        }
    )


def _header(source: Source, rows: Iterator[tuple[int, Row]]) -> tuple[list[str], int]:
    """Returns the names of the columns, and the row that names them."""
    if isinstance(source.header, tuple):
        return list(source.header), 1
    for number, row in rows:
        wanted = source.header if isinstance(source.header, int) else number
        if number == wanted and any(cell is not None for cell in row):
            last = max(place for place, cell in enumerate(row) if cell is not None)
            return ["" if cell is None else cell_text(cell) for cell in row[: last + 1]], number
    raise DataError(
        f"{source.where}: the sheet has no row that names the columns"
        + (f" (header = {source.header})" if source.header else "")
        + "; it needs a header and records"
    )


def _hint(source: Source, header: Sequence[str]) -> str | None:
    if source.header is None and sum(name != "" for name in header) == 1:
        return (
            f"the first row is '{next(filter(None, header))}' alone; if the names of the columns "
            f"stand further below, say in which row: {remedy(header=3)}"
        )
    return None


def _merged(archive: zipfile.ZipFile, title: str) -> list[str]:
    """Returns the ranges of merged cells of a sheet, such as "A1:B1"."""
    book = ElementTree.fromstring(archive.read("xl/workbook.xml"))
    links = ElementTree.fromstring(archive.read("xl/_rels/workbook.xml.rels"))
    targets = {link.get("Id"): str(link.get("Target")) for link in links}
    for sheet in book.iter():
        if not sheet.tag.endswith("}sheet") or sheet.get("name") != title:
            continue
        name = next(value for key, value in sheet.attrib.items() if key.endswith("}id"))
        target = targets[name]
        path = target.lstrip("/") if target.startswith("/") else f"xl/{target}"
        with archive.open(path) as stream:
            return [
                str(element.get("ref"))
                for _, element in ElementTree.iterparse(stream)
                if element.tag.endswith("}mergeCell")
            ]
    return []
