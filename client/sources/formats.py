"""The kinds of file that records are read from: one entry each.

A new kind is a module with a reader beside the others, and an entry here; docs/extending.md adds
one.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FORMATS", "FileFormat", "format_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFormat:
    """What fedloom knows of a kind of file.

    Attributes:
      name: as options of a source name it.
      endings: of a file's name, in small letters.
      reader: reads columns, "module:name", from source and the columns' names (None for all of
        them); returns a data frame, cells as they are written.
      packed: whether the file may also end in `.gz`.
    """

    name: str
    endings: tuple[str, ...]
    reader: str
    packed: bool = False


FORMATS: dict[str, FileFormat] = {
    entry.name: entry
    for entry in (
        FileFormat(
            name="text",
            endings=(".csv", ".tsv", ".tab", ".txt"),
            reader="fedloom.client.sources.csv:read_csv",
            packed=True,
        ),
        FileFormat(
            name="excel",
            endings=(".xlsx", ".xlsm"),
            reader="fedloom.client.sources.excel:read_excel",
        ),
        FileFormat(
            name="parquet",
            endings=(".parquet", ".pq"),
            reader="fedloom.client.sources.parquet:read_parquet",
        ),
    )
}


def format_of(file_name: str) -> FileFormat | None:
    """Returns the entry of a file by its ending; None if no kind has it.

    >>> format_of("Records.CSV.gz").name
    'text'
    """
    lower = file_name.lower()
    for entry in FORMATS.values():
        if lower.endswith(entry.endings):
            return entry
        if entry.packed and lower.removesuffix(".gz").endswith(entry.endings):
            return entry
    return None
