"""Sheets of Excel files become tables, or errors that name the cell."""

from __future__ import annotations

import datetime as dt
import zipfile
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from fedloom.client.data_check import check
from fedloom.client.sources import Source, load_table
from fedloom.common.encoding import Encoding
from fedloom.common.errors import DataError
from fedloom.common.schema import Column, Schema
from tests.federation import cli

SCHEMA = Schema(
    (
        Column("age", "integer", minimum=0, maximum=120, nullable=True),
        Column("ill", "category", values=("yes", "no", "1")),
        Column("crea", "real", minimum=0, maximum=10),
        Column("seen", "datetime", minimum="2022-01-01", maximum="2024-12-31"),
    )
)
HEADER = ["id", "age", "ill", "crea", "seen"]
ROWS: list[list[Any]] = [
    ["a", 67, "no", 1.5, dt.datetime(2023, 6, 15)],
    ["b", None, True, "2.5", dt.date(2023, 6, 16)],
    ["c", 7.0, "yes", 3, "2023-06-17"],
]


def book(path: Path, rows: list[list[Any]], **sheets: list[list[Any]]) -> Path:
    made = openpyxl.Workbook()
    made.active.title = "Patients"
    for row in rows:
        made.active.append(row)
    for name, cells in sheets.items():
        sheet = made.create_sheet(name)
        for row in cells:
            sheet.append(row)
    made.save(path)
    return path


def test_cells_are_read_with_their_types(tmp_path: Path) -> None:
    path = book(tmp_path / "t.xlsx", [HEADER, *ROWS, [None] * 5, []])
    frame = load_table(path, SCHEMA, id_column="id")
    assert frame.shape == (3, 5) and frame["id"].tolist() == ["a", "b", "c"]
    assert check(frame, SCHEMA).fits
    codes = Encoding(SCHEMA).encode(frame)
    assert [codes.missing[name] for name in SCHEMA.names] == [1, 0, 0, 0]
    assert codes.codes[1, 1] == 2  # True is the category "1"


def test_texts_in_cells_are_read_as_the_source_says(tmp_path: Path) -> None:
    rows = [["67", "no", "1.234,5", "15.06.2023"], [8, "yes", 3.25, 45092]]
    path = book(tmp_path / "t.xlsx", [HEADER[1:], *rows])
    wide = Schema(
        (*SCHEMA.columns[:2], Column("crea", "real", minimum=0, maximum=9e9), SCHEMA.columns[3])
    )
    assert not check(load_table(path, wide), wide).fits
    options = {"decimal": ",", "thousands": ".", "date_format": ["%d.%m.%Y", "excel"]}
    frame = load_table(Source(path=path, **options), wide)  # type: ignore[arg-type]
    assert check(frame, wide).fits and frame["crea"].tolist() == [1234.5, 3.25]
    assert frame["seen"].tolist() == [dt.datetime(2023, 6, 15)] * 2


def test_one_of_several_sheets_has_to_be_named(tmp_path: Path) -> None:
    path = book(tmp_path / "t.xlsx", [["a note"]], Data=[HEADER, *ROWS])
    with pytest.raises(DataError, match="sheets 'Patients', 'Data'; add sheet"):
        load_table(path, SCHEMA)
    with pytest.raises(DataError, match="no sheet 'data'"):
        load_table(Source(path=path, sheet="data"), SCHEMA)
    assert len(load_table(Source(path=path, sheet="Data"), SCHEMA)) == 3


def test_a_title_above_and_a_sheet_without_names(tmp_path: Path) -> None:
    path = book(tmp_path / "t.xlsx", [["Ward 3"], [], HEADER, *ROWS])
    with pytest.raises(DataError, match="--header 3"):
        load_table(path, SCHEMA)
    assert len(load_table(Source(path=path, header=3), SCHEMA)) == 3
    bare = book(tmp_path / "b.xlsx", ROWS)
    assert load_table(Source(path=bare, header=HEADER), SCHEMA)["age"].tolist()[0] == 67


def with_merged(path: Path, cells: str) -> Path:
    made = openpyxl.load_workbook(path)
    made.active.merge_cells(cells)
    made.save(path)
    return path


@pytest.mark.parametrize("cells", ["A1:B1", "B2:B3", "C4:D4"])
def test_merged_cells_are_refused(cells: str, tmp_path: Path) -> None:
    path = with_merged(book(tmp_path / "t.xlsx", [HEADER, *ROWS]), cells)
    with pytest.raises(DataError, match=f"cells {cells} are merged|no column 'age'"):
        load_table(path, SCHEMA)


def test_merged_cells_above_the_table_do_not_matter(tmp_path: Path) -> None:
    path = with_merged(book(tmp_path / "t.xlsx", [["Ward 3"], HEADER, *ROWS]), "A1:D1")
    assert len(load_table(Source(path=path, header=2), SCHEMA)) == 3


def test_a_formula_counts_by_the_value_that_was_saved_with_it(tmp_path: Path) -> None:
    path = book(tmp_path / "t.xlsx", [HEADER, ["a", "=60+7", "no", 1, "2023-06-15"]])
    with pytest.raises(DataError, match="cell B2 is a formula whose value was not saved"):
        load_table(path, SCHEMA)
    saved = tmp_path / "saved.xlsx"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(saved, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name.endswith("sheet1.xml"):
                assert b"<v></v>" in data or b"<v />" in data or b"<v/>" in data
                for empty in (b"<v></v>", b"<v />", b"<v/>"):
                    data = data.replace(empty, b"<v>67</v>")
            new.writestr(name, data)
    assert load_table(saved, SCHEMA)["age"].tolist() == [67]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([HEADER, ROWS[0], [], ROWS[1]], "row 3 is empty and row 4 is not"),
        ([HEADER, [*ROWS[0], "a note"]], "row 2 has more cells"),
        ([[*HEADER, "age"], ROWS[0]], "'age' appears twice"),
        ([], "no row that names the columns"),
    ],
)
def test_what_no_table_has_is_refused_by_row(
    rows: list[list[Any]], said: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=said):
        load_table(book(tmp_path / "t.xlsx", rows), SCHEMA)


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("t.xlsx", b"age,ill\n", "not an Excel file"),
        ("t.xlsx", b"\xd0\xcf\x11\xe0\xa1\xb1", "password"),
        ("t.xls", b"\xd0\xcf\x11\xe0\xa1\xb1", "save it as .xlsx or CSV"),
        ("t.ods", b"PK", "save it as .xlsx or CSV"),
        ("t.sav", b"$FL2", "export it as CSV"),
        ("t.zip", b"PK", "unpack it"),
    ],
)
def test_other_files_are_named_with_a_remedy(
    name: str, data: bytes, said: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=said):
        load_table(tmp_path / name, SCHEMA)


def test_an_excel_file_named_csv_is_told_from_text(tmp_path: Path) -> None:
    path = book(tmp_path / "t.xlsx", [HEADER, *ROWS]).rename(tmp_path / "t.csv")
    with pytest.raises(DataError, match="is an Excel file, no text; give it the ending .xlsx"):
        load_table(path, SCHEMA)


def test_options_that_are_not_for_the_kind_of_file_are_refused() -> None:
    for options in ({"separator": ";"}, {"encoding": "latin-1"}, {"quote": "'"}):
        with pytest.raises(DataError, match="is for text sources"):
            Source(path="t.xlsx", **options)  # type: ignore[arg-type]
    for path in ("t.csv", "t.parquet"):
        with pytest.raises(DataError, match="sheet is for excel sources"):
            Source(path=path, sheet="Data")


def test_the_command_line_reads_a_sheet(tmp_path: Path) -> None:
    path = book(tmp_path / "t.xlsx", [["note"]], Data=[["age"], [7], [8]])
    schema = tmp_path / "s.toml"
    schema.write_text('[[column]]\nname = "age"\nkind = "integer"\nmin = 0\nmax = 9\n')
    assert "--sheet" in cli("schema", "check", schema, path).err
    done = cli("schema", "check", schema, path, "--sheet", "Data")
    assert done.code == 0 and "2 records" in done.out
