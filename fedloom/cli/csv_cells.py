"""A text table cell by cell: some are replaced, every other byte stays what it is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from fedloom.common.errors import DataError
from fedloom.common.text import normal

if TYPE_CHECKING:
    from fedloom.client.sources import Source

__all__ = ["CsvCells"]

_LINE = re.compile(r"[^\r\n]*(?:\r\n|\n|\r|$)")
_END = re.compile(r"[\r\n]*$")


class CsvCells:
    """The cells of a text file with a mark between them, as they are written."""

    def __init__(self, source: Source) -> None:
        """Reads a file that is not packed, as its source says.

        Raises:
          DataError: it cannot be read.
        """
        from fedloom.client.sources.lines import Lines
        from fedloom.client.sources.text_file import codec_of

        lines = Lines(source)
        next(lines.from_header(), None)
        self._separator = lines.separator
        self._quote = '"' if source.quote is None else source.quote
        quote, mark = re.escape(self._quote), re.escape(self._separator)
        self._cell = re.compile(
            rf"[ ]*{quote}(?:[^{quote}]|{quote}{quote})*{quote}[^{mark}]*|[^{mark}]*"
            if self._quote
            else rf"[^{mark}]*"
        )
        self._codec = codec_of(source.file, source.encoding)
        try:
            text = source.file.read_bytes().decode(self._codec)
        except (OSError, UnicodeError) as error:
            raise DataError(f"{source.where}: cannot be read as text: {error}") from None
        whole = _LINE.findall(text)
        self._before = "".join(whole[: max(lines.begin - 1, 0)])
        records = self._split_records(text[len(self._before) :])
        if isinstance(source.header, tuple):
            self.names = list(source.header)
        else:
            self.names = self._names(records[0]) if records else []
            self._before += "".join(records[:1])
            records = records[1:]
        self._records = records
        # Empty lines are no records, for any reader of such files.
        self._places = [i for i, record in enumerate(records) if not self._is_blank(record)]

    @property
    def num_rows(self) -> int:
        """The number of records."""
        return len(self._places)

    def replaced(self, texts: Mapping[int, Mapping[int, str]]) -> bytes:
        """Returns the file with some cells replaced: texts by record, then by column's place.

        Raises:
          DataError: a text cannot be written in the file's encoding, or without quotes.
        """
        records = list(self._records)
        for row, changes in texts.items():
            record = records[self._places[row]]
            end = _END.search(record)
            assert end is not None
            cells = self._split(record)
            for place, text in changes.items():
                cells[place] = self._quoted(text)
            records[self._places[row]] = self._separator.join(cells) + end.group()
        try:
            return "".join([self._before, *records]).encode(self._codec)
        except UnicodeError as error:
            raise DataError(
                f"a filled value cannot be written in {self._codec}: {error}; save the table as "
                "UTF-8"
            ) from None

    def _names(self, header: str) -> list[str]:
        quote, cells = self._quote, self._split(header.lstrip("\ufeff"))
        if quote:
            cells = [cell.strip().strip(quote).replace(2 * quote, quote) for cell in cells]
        return [normal(cell).strip() for cell in cells]

    def _is_blank(self, record: str) -> bool:
        body = _END.sub("", record)
        return (
            not body.strip() and self._separator not in body and (len(self.names) > 1 or not body)
        )

    def _split(self, record: str) -> list[str]:
        body = _END.sub("", record)
        if not self._quote or self._quote not in body:
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
        special = self._separator in text or re.search(r"[\r\n]", text) or text != text.strip()
        if not self._quote:
            if special:
                raise DataError(
                    f'a filled value holds the mark {self._separator!r}, and quote = "" leaves '
                    "no way to write it; write the table with quotes"
                )
            return text
        if special or self._quote in text:
            doubled = text.replace(self._quote, 2 * self._quote)
            return f"{self._quote}{doubled}{self._quote}"
        return text

    def _split_records(self, text: str) -> list[str]:
        """Splits a text at the ends of lines that are not within quotes; ends stay."""
        records, open_ = [], ""
        for found in _LINE.finditer(text):
            line = open_ + found.group()
            if self._quote and line.count(self._quote) % 2:
                open_ = line
            elif line:
                records.append(line)
                open_ = ""
        return [*records, open_] if open_ else records
