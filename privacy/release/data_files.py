"""What a release must know of the files that hold its synthetic records: one class a kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedloom.common.encoding import Encoding
from fedloom.common.parts import load_part
from fedloom.common.records import RECORDS, RecordKind, TableSettings
from fedloom.common.schema import Schema

__all__ = ["DataFiles", "data_files", "sizes_of"]


class DataFiles(Protocol):
    """The data files of one kind of record."""

    @property
    def sizes(self) -> Mapping[str, int]:
        """Every data file of a release, with the most bytes that it may have."""
        ...

    @property
    def formats(self) -> Mapping[str, str]:
        """The files that a consumer reads rows from, by the name of their format."""
        ...

    @property
    def main(self) -> str:
        """The file that `pieces` reads."""
        ...

    def write(self, frame: pd.DataFrame, folder: Path) -> None:
        """Writes synthetic records into a release's folder."""
        ...

    def check(
        self, folder: Path, encoding: Encoding, rows: int, on_rows: Callable[[int], None]
    ) -> str:
        """Looks at every value of every file; memory is bounded by a piece of the rows.

        Args:
          folder: the release.
          encoding: of the schema's columns.
          rows: how many the manifest states.
          on_rows: is told how many rows have been looked at since it was last told.

        Returns:
          What was found, for people.

        Raises:
          ReleaseError: a file cannot be read, or holds what the schema does not allow.
        """
        ...

    def pieces(self, folder: Path, schema: Schema, rows: int) -> Iterator[pd.DataFrame]:
        """Yields the rows in pieces of `fedloom.common.sampling.draw.UNIT_ROWS`."""
        ...

    def differing(
        self, held: pd.DataFrame, drawn: pd.DataFrame, schema: Schema
    ) -> NDArray[np.bool_]:
        """Tells which rows of a piece are not those that were drawn again, (N,)."""
        ...

    def typed(self, frame: pd.DataFrame, schema: Schema) -> pd.DataFrame:
        """Returns drawn rows in the types in which `read` returns a release's."""
        ...

    def read(self, folder: Path, schema: Schema, form: str) -> pd.DataFrame:
        """Reads all rows for a consumer, in one of `formats`.

        Raises:
          ConfigError: there is no such format.
          ReleaseError: the file cannot be read, or does not fit the schema.
        """
        ...


def data_files(kind: RecordKind) -> DataFiles:
    """Returns what knows the data files of a kind of record."""
    files: DataFiles = load_part(kind.data)()
    return files


def sizes_of(paths: Iterable[str]) -> Mapping[str, int]:
    """Returns the data files, with their largest sizes, of the kind that paths are of.

    Args:
      paths: of a release. Where they name data files of no kind, a table's are returned.
    """
    listed = set(paths)
    by_kind = {name: data_files(kind).sizes for name, kind in RECORDS.items()}
    # Kinds may share files; of equally many, a table's come first.
    most = max(by_kind.values(), key=lambda sizes: len(listed & set(sizes)))
    return most if listed & set(most) else by_kind[TableSettings.kind]
