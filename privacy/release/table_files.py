"""The data files of a release of tables: the same rows as CSV and as Parquet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedloom.common.encoding import Encoding
from fedloom.common.schema import Schema
from fedloom.privacy.release.data import CSV, PARQUET, write_data
from fedloom.privacy.release.layout import TABLE_BYTES
from fedloom.privacy.release.typed_rows import FORMATS, read_typed, typed
from fedloom.privacy.release.verify.rows import check_data, differing_rows
from fedloom.privacy.release.verify.tables import parquet_pieces

__all__ = ["TableFiles"]


class TableFiles:
    """See `fedloom.privacy.release.data_files.DataFiles`."""

    sizes: ClassVar[Mapping[str, int]] = {CSV: TABLE_BYTES, PARQUET: TABLE_BYTES}
    formats: ClassVar[Mapping[str, str]] = FORMATS
    main: ClassVar[str] = PARQUET

    def write(self, frame: pd.DataFrame, folder: Path) -> None:
        """Writes the rows twice."""
        write_data(frame, folder)

    def check(
        self, folder: Path, encoding: Encoding, rows: int, on_rows: Callable[[int], None]
    ) -> str:
        """Looks at every value of both files, and holds one against the other."""
        return check_data(folder, encoding, rows, on_rows)

    def pieces(self, folder: Path, schema: Schema, rows: int) -> Iterator[pd.DataFrame]:
        """Yields the rows of the Parquet file."""
        return parquet_pieces(folder, schema, rows)

    def differing(
        self, held: pd.DataFrame, drawn: pd.DataFrame, schema: Schema
    ) -> NDArray[np.bool_]:
        """Compares value by value, in the types of the schema."""
        return differing_rows(typed(held, schema), typed(drawn, schema))

    def typed(self, frame: pd.DataFrame, schema: Schema) -> pd.DataFrame:
        """Returns rows in the types of the schema's columns."""
        return typed(frame, schema)

    def read(self, folder: Path, schema: Schema, form: str) -> pd.DataFrame:
        """Reads the rows of either file, typed; the result is the same."""
        return read_typed(folder, schema, form)
