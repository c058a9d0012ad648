"""The lines of a text file that hold its table, and what precedes them.

The one statement about itself that a file may make is Excel's first line `sep=;`.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from fedloom.client.sources.config import Source
from fedloom.client.sources.text_file import lines_of
from fedloom.common.errors import DataError

__all__ = ["Lines"]

_TOP = 50
_SEP_LINE = re.compile(r'"?sep=(?P<mark>[^"\r\n])"?\s*\Z', re.IGNORECASE)


class Lines:
    """The lines of a text file, counted, without what precedes the header.

    Attributes:
      number: Of the line that was read last, from 1.
      separator: The mark between cells.
      begin: Number of the line that the table begins with.
      first: That line.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self.number = 0
        self.separator = source.separator or _usual_separator(source)
        self.begin, self.first = 0, ""

    def from_header(self) -> Iterator[str]:
        """Yields the lines that the table is in."""
        wanted = self._source.header if isinstance(self._source.header, int) else None
        for line in lines_of(self._source.file, self._source.encoding):
            self.number += 1
            if self.number == 1 and (said := _SEP_LINE.match(line)):
                self._take(said["mark"])
            elif self.begin or self.number == wanted or (wanted is None and line.strip()):
                if not self.begin:
                    self.begin, self.first = self.number, line
                yield line

    def from_top(self) -> list[str]:
        """Returns the first lines of the file, read again, for messages."""
        return list(itertools.islice(lines_of(self._source.file, self._source.encoding), _TOP))

    def _take(self, mark: str) -> None:
        if self._source.separator not in (None, mark):
            raise DataError(
                f"{self._source.where}: its first line says that cells are separated by {mark!r}, "
                f"separator says {self._source.separator!r}; leave separator out"
            )
        self.separator = mark


def _usual_separator(source: Source) -> str:
    name = source.file.name.lower().removesuffix(".gz")
    return "\t" if name.endswith((".tsv", ".tab")) else ","
