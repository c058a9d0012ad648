"""Records in Parquet files."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import pyarrow
import pyarrow.parquet

from fedloom.client.sources.config import Source
from fedloom.client.sources.wanted import find_columns
from fedloom.common.errors import DataError

__all__ = ["read_parquet"]

# A column's type follows from the file's, never from what stands in it: by default integers
# and truth values beside missing ones would become floats and objects.
_TYPES = {
    pyarrow.bool_(): pd.BooleanDtype(),
    pyarrow.int8(): pd.Int8Dtype(),
    pyarrow.int16(): pd.Int16Dtype(),
    pyarrow.int32(): pd.Int32Dtype(),
    pyarrow.int64(): pd.Int64Dtype(),
    pyarrow.uint8(): pd.UInt8Dtype(),
    pyarrow.uint16(): pd.UInt16Dtype(),
    pyarrow.uint32(): pd.UInt32Dtype(),
    pyarrow.uint64(): pd.UInt64Dtype(),
}


def read_parquet(source: Source, names: Sequence[str] | None) -> pd.DataFrame:
    """Reads the columns `names`, or all, of a Parquet file.

    Raises:
      DataError: the file is no such table, or lacks a column.
    """
    path = source.file
    try:
        present = pyarrow.parquet.read_schema(path).names
        places = find_columns(present, names, str(path))
        found = [present[place] for place in places.values()]
        table = pyarrow.parquet.ParquetFile(path).read(columns=found)
        frame: pd.DataFrame = _plain(table).to_pandas(types_mapper=_TYPES.get, ignore_metadata=True)
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:
        raise DataError(f"{path}: not a Parquet file: {error}; write it again") from None
    return frame[found].set_axis(list(places), axis=1)


def _plain(table: pyarrow.Table) -> pyarrow.Table:
    """Returns the table without dictionaries, and with dates as ISO text.

    One date after the year 9999 would otherwise make the whole file unreadable.
    """
    fields = []
    for field in table.schema:
        kind = field.type
        if pyarrow.types.is_dictionary(kind):
            kind = kind.value_type
        if pyarrow.types.is_date(kind):
            kind = pyarrow.string()
        fields.append(field.with_type(kind))
    return table.cast(pyarrow.schema(fields))
