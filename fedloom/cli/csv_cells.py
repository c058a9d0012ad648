"""A CSV file cell by cell: some are replaced, every other byte stays what it is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from fedloom.common.errors import DataError

__all__ = ["CsvCells"]

_LINE = re.compile(r"[^\r\n]*(?:\r\n|\n|\r|$)")
_END = re.compile(r"[\r\n]*$")
_SPECIAL = re.compile(r'["\r\n]')


class CsvCells:
    """The cells of a CSV or TSV file with a header, as they are written."""

    def __init__(self, path: Path) -> None:
        """Reads a file, plain and in UTF-8.

        Raises:
          DataError: it cannot be read.
        """
        self._separator = "\t" if ".tsv" in path.name.lower() else ","
        cell = re.escape(self._separator)
        self._cell = re.compile(rf'[ ]*"(?:[^"]|"")*"[^{cell}]*|[^{cell}]*')
        try:
            text = path.read_bytes().decode("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path}: cannot be read as text: {error}; save it as UTF-8") from None
        records = _records(text)
        self._records = records[1:]
        self._header = records[0] if records else ""
        # Empty lines are no records, for any reader of such files.
        self._places = [i for i, record in enumerate(self._records) if record.strip("\r\n")]

    @property
    def num_rows(self) -> int:
        """The number of records."""
        return len(self._places)

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        cells = self._split(self._header.lstrip("\ufeff"))
        return [cell.strip().strip('"').replace('""', '"').strip() for cell in cells]

    def replaced(self, texts: Mapping[int, Mapping[int, str]]) -> bytes:
        """Returns the file with some cells replaced: texts by record, then by column's place."""
        records = list(self._records)
        for row, changes in texts.items():
            record = records[self._places[row]]
            end = _END.search(record)
            assert end is not None
            cells = self._split(record)
            for place, text in changes.items():
                cells[place] = self._quoted(text)
            records[self._places[row]] = self._separator.join(cells) + end.group()
        return "".join([self._header, *records]).encode()

    def _split(self, record: str) -> list[str]:
        body = _END.sub("", record)
        if '"' not in body:
            return body.split(self._separator)
        cells, at = [], 0
        while True:
            found = self._cell.match(body, at)
            assert found is not None
            cells.append(found.group())
            at = found.end() + 1
            if found.end() >= len(body):
                return cells

    def _quoted(self, text: str) -> str:
        if self._separator in text or _SPECIAL.search(text) or text != text.strip():
            return '"' + text.replace('"', '""') + '"'
        return text


def _records(text: str) -> list[str]:
    """Splits a text at the ends of lines that are not within quotes; ends stay."""
    records, open_ = [], ""
    for found in _LINE.finditer(text):
        line = open_ + found.group()
        if line.count('"') % 2:
            open_ = line
        elif line:
            records.append(line)
            open_ = ""
    return [*records, open_] if open_ else records
