"""What a text file looks like that does not fit what its source says, for messages alone.

Nothing is read by what is found here: a message names what was seen and the option that says so.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence

from fedloom.client.sources.config import Source
from fedloom.client.sources.lines import Lines
from fedloom.client.sources.options import remedy
from fedloom.common.errors import DataError
from fedloom.common.text import normal

__all__ = ["RowLengths", "header_hint"]

_MARKS = (",", ";", "\t", "|", ":", "^", "~", "!", " ")
_NAMES = {"\t": "tabs", " ": "spaces"}
_DIGITS = re.compile(r"\s*[+-]?\d+\s*", re.ASCII)
_NUMERAL = re.compile(r"\s*[+-]?[\d.,:/-]*\d[\d.,:/-]*\s*", re.ASCII)
_SHOWN = 80


def header_hint(source: Source, lines: Lines, names: Sequence[str]) -> str | None:
    """Says what is wrong with a header that lacks a wanted column, if the first lines tell.

    Args:
      source: As it is said to be written.
      lines: As they were read.
      names: The wanted columns.
    """
    separator, seen, start = lines.separator, lines.from_top(), lines.begin - 1
    for place in range(len(seen)):
        for mark in dict.fromkeys((separator, *_MARKS)):
            for quote in ('"', "'"):
                if not set(names) <= set(_names(seen[place], mark, quote)):
                    continue
                found: dict[str, object] = {}
                if mark != separator:
                    found["separator"] = "tab" if mark == "\t" else mark
                if quote != (source.quote or '"'):
                    found["quote"] = quote
                if place != start:
                    found["header"] = place + 1
                if found:
                    return f"line {place + 1} names it, with {_seen(found)}: {remedy(**found)}"
    if isinstance(source.header, tuple) or not seen[start:]:
        return None
    line = seen[start].strip()
    cells = line.split(separator)
    others = {mark: line.count(mark) for mark in _MARKS[:4] if mark != separator}
    most = max(others, key=lambda mark: others[mark])
    if len(cells) == 1 and others[most]:
        said = "tab" if most == "\t" else most
        return (
            f'line {start + 1} is "{line[:_SHOWN]}", which {_NAMES.get(most, repr(most))} seem to '
            f"separate: {remedy(separator=said)}; then rename columns, or correct the schema"
        )
    if any(_NUMERAL.fullmatch(cell) for cell in cells):
        return (
            f'line {start + 1} is "{line[:_SHOWN]}" and looks like a record; if no line names the '
            f"columns, name them all in their order: {remedy(header=list(names))}; if one does, "
            "say which: header = 3, or --header 3"
        )
    return None


class RowLengths:
    """Holds the lengths of rows against the header's, and how often another mark is in them."""

    def __init__(self, source: Source, lines: Lines, num_cells: int) -> None:
        self._source, self._separator, self._num_cells = source, lines.separator, num_cells
        self._wrong, self._first = 0, (0, [""])
        self._rows = 0
        said = source.separator is not None or lines.begin != 1 or source.header is not None
        self._rivals = {
            mark: lines.first.count(mark)
            for mark in _MARKS[:4]
            if not said and mark != lines.separator and mark in lines.first
        }

    def fit(self, line: int, record: list[str]) -> bool:
        """Tells whether a record that begins in a line has as many cells as the header."""
        self._rows += 1
        if len(record) != self._num_cells:
            if not self._wrong:
                self._first = (line, record)
            self._wrong += 1
        for mark, count in list(self._rivals.items()):
            if sum(cell.count(mark) for cell in record) != count:
                del self._rivals[mark]
        return len(record) == self._num_cells

    def check(self) -> None:
        """Refuses a file with rows of another length, or one that reads alike by two marks.

        Raises:
          DataError: names the first line and what it looks like.
        """
        if self._wrong:
            line, record = self._first
            more = f" (and {self._wrong - 1} lines more)" if self._wrong > 1 else ""
            raise DataError(
                f"{self._source.where}, line {line}{more}: {len(record)} cells where the header "
                f"names {self._num_cells}{self._why(record)}; give every row {self._num_cells} "
                "cells, empty ones for missing values"
            )
        if self._rivals and self._rows:
            mark = next(iter(self._rivals))
            said = remedy(separator="tab" if mark == "\t" else mark)
            raise DataError(
                f"{self._source.where}: every line has cells both by {self._separator!r} and by "
                f'{mark!r}; {said}, or say separator = "{self._separator}" if that is right'
            )

    def _why(self, record: list[str]) -> str:
        if len(record) > self._num_cells:
            if not any(cell.strip() for cell in record[self._num_cells :]):
                return "; the line ends with marks and no cells"
            if self._separator == "," and any(
                _DIGITS.fullmatch(one) and _DIGITS.fullmatch(other)
                for one, other in zip(record, record[1:], strict=False)
            ):
                return (
                    "; a number with a decimal comma is two cells unless it is in quotes: write "
                    "the table with another mark between cells, or with quotes"
                )
        if len(record) == 1:
            for mark in _MARKS[:4]:
                if mark != self._separator and record[0].count(mark) == self._num_cells - 1:
                    said = remedy(separator="tab" if mark == "\t" else mark)
                    return f"; {mark!r} seems to separate them: {said}"
        return ""


def _names(line: str, mark: str, quote: str) -> list[str]:
    try:
        cells = next(csv.reader([line], delimiter=mark, quotechar=quote, skipinitialspace=True), [])
    except csv.Error:
        return []
    return [normal(cell).strip() for cell in cells]


def _seen(found: dict[str, object]) -> str:
    said = []
    if "separator" in found:
        mark = str(found["separator"])
        said.append(f"{'tabs' if mark == 'tab' else _NAMES.get(mark, repr(mark))} between cells")
    if "quote" in found:
        said.append(f"{found['quote']} around them")
    if "header" in found:
        said.append(f"{int(str(found['header'])) - 1} lines above it")
    return " and ".join(said)
