"""What a study of kind "schema" asks: one sum that tells bounds and categories of open columns.

Each open column has cells of its own, after two that every column has: missing, and unfit (a number
that cannot be read; a text that is empty, not printable or longer than 48 bytes). A number adds
`CELL_WEIGHT` to the cell of `fedloom.common.number_axis` that holds it and `GROUP_WEIGHT` to that
cell's group, which is `NUMBER_NORM` in L2 norm; a category spells its text
(`fedloom.common.category_codes`). So one record changes an open column's cells by a vector of L2
norm at most `NUMBER_NORM` or `NORM`, whatever it holds, and the whole sum by at most `l2_norm`, the
root of the sum of their squares: the sensitivity under adding or removing one record. Both depend
on the open schema alone, and so does every position: cells, buckets and hashes are public.

All numbers are whole, so the sum is exact and may travel under a secure sum.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fedloom.common.category_codes import (
    MAX_BYTES,
    NORM,
    SYMBOL_CELLS,
    CodeTable,
    encode_category,
    tables,
)
from fedloom.common.cells import read_numbers, read_texts
from fedloom.common.column import Column
from fedloom.common.encoding import Codes, EncodedTable
from fedloom.common.errors import DataError, SchemaError
from fedloom.common.number_axis import NumberAxis, number_axis
from fedloom.common.records import Coded
from fedloom.common.schema import Schema

if TYPE_CHECKING:
    from fedloom.common.models.settings import ModelSettings

__all__ = [
    "CELL_WEIGHT",
    "GROUP_WEIGHT",
    "MISSING",
    "NUMBER_NORM",
    "UNFIT",
    "Discovery",
    "open_columns",
    "OpenColumn",
]

# Texts need about three times the signal of a histogram's cell: see docs/decisions/0010.
CELL_WEIGHT, GROUP_WEIGHT = 24, 18
NUMBER_NORM = 30
MISSING, UNFIT = 0, 1
_BESIDES = 2
_MAX_CELLS = 1 << 22
_MAX_BUCKETS, _MIN_BUCKETS = 1024, 64
_WORDS = MAX_BYTES // 4


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class OpenColumn:
    """Where an open column lies in the sum, and in the codes of a record.

    Attributes:
      column: From the open schema.
      start: Position of its first cell, that of missing values.
      size: Number of its cells.
      first_code: Position of its first code; a number has one code, a text 13: its number of bytes
        (or minus one for missing, minus two for unfit) and the bytes themselves, four in a code.
      norm: L2 norm of what one record adds, at most.
      axis: Of a number or time, whose cells begin at `start + 2`; its groups follow them.
      tables: Of a category.
    """

    column: Column
    start: int
    size: int
    first_code: int
    norm: int
    axis: NumberAxis | None
    tables: tuple[CodeTable, ...]

    @property
    def num_codes(self) -> int:
        """How many codes of a record are this column's."""
        return 1 if self.axis is not None else 1 + _WORDS


def open_columns(model: ModelSettings, schema: Schema, target: str | None) -> Discovery:
    """Returns the discovery of an open schema; such a study has no target.

    Raises:
      SchemaError: as for `Discovery`.
    """
    return Discovery(schema)


class Discovery:
    """The public layout of the sum, and how a table becomes one.

    Attributes:
      schema: The open schema.
      columns: Its open columns.
      length: Number of cells of all of them.
      l2_norm: Sensitivity of the sum.

    Raises:
      SchemaError: no column is open, more are than fit in a sum, or a constraint names one.
    """

    kind = "discovery"

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        if not schema.open_columns:
            raise SchemaError(
                'no column is open; say bounds = "private" or values = "private" where a column '
                "is to be learned, or run the study itself on this schema"
            )
        names = {column.name for column in schema.open_columns}
        for constraint in schema.constraints:
            for name in names.intersection(constraint.columns):
                raise SchemaError(
                    f"the constraint {constraint.name!r} names the open column '{name}'; add it to "
                    "the completed schema instead"
                )
        self.columns = _layout(schema)
        self.length = self.columns[-1].start + self.columns[-1].size
        self.l2_norm = math.sqrt(sum(column.norm**2 for column in self.columns))
        self.num_codes = sum(column.num_codes for column in self.columns)

    @property
    def record_shape(self) -> tuple[int, ...]:
        """The codes of the open columns."""
        return (self.num_codes,)

    @property
    def record_type(self) -> str:
        """Codes are int32."""
        return "int32"

    def coded(self, private_frame: pd.DataFrame) -> Coded:
        """Codes the open columns; all records are of one class.

        Raises:
          DataError: a column of the schema is missing.
        """
        encoded = self.encode(private_frame)
        return Coded(
            features=encoded.codes,
            classes=np.zeros(len(encoded.codes), dtype=np.int64),
            clamped=encoded.clamped,
            unknown=encoded.unknown,
        )

    def encode(self, private_frame: pd.DataFrame) -> EncodedTable:
        """Reads the open columns of records; nothing in them raises.

        Returns:
          Codes (N, num_codes), int32, and counts of what is missing and unfit, which are private.

        Raises:
          DataError: a column of the schema is missing.
        """
        absent = [name for name in self.schema.names if name not in private_frame.columns]
        if absent:
            raise DataError(
                f"the table has no column '{absent[0]}'; add it, or remove it from the schema"
            )
        codes = np.zeros((len(private_frame), self.num_codes), dtype=np.int32)
        unknown, missing = {}, {}
        for open_column in self.columns:
            name = open_column.column.name
            last = open_column.first_code + open_column.num_codes
            part = codes[:, open_column.first_code : last]
            if open_column.axis is not None:
                part[:, 0] = _number_cells(open_column, private_frame[name])
                is_missing, is_unfit = part[:, 0] == MISSING, part[:, 0] == UNFIT
            else:
                part[:] = _packed(private_frame[name])
                is_missing, is_unfit = part[:, 0] == -1, part[:, 0] == -2
            missing[name], unknown[name] = int(is_missing.sum()), int(is_unfit.sum())
        none = np.empty((len(codes), 0), dtype=np.int32)
        return EncodedTable(codes, none, dict.fromkeys(missing, 0), unknown, missing)

    def sum(self, codes: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """Returns the exact sum over records, (length,); their codes are (N, num_codes)."""
        total = np.zeros(self.length, dtype=np.int64)
        for open_column in self.columns:
            part = total[open_column.start : open_column.start + open_column.size]
            if open_column.axis is not None:
                part += _counts(open_column.axis, codes[:, open_column.first_code])
                continue
            last = open_column.first_code + open_column.num_codes
            rows, counts = _distinct(codes[:, open_column.first_code : last])
            for row, count in zip(rows, counts, strict=True):
                for cell, weight in _cells_of_text(open_column, row):
                    part[cell] += weight * count
        return total


def _layout(schema: Schema) -> tuple[OpenColumn, ...]:
    buckets = _MAX_BUCKETS
    while True:
        columns = tuple(_columns(schema, buckets))
        length = columns[-1].start + columns[-1].size
        if length <= _MAX_CELLS:
            return columns
        if buckets == _MIN_BUCKETS:
            raise SchemaError(
                f"{len(columns)} open columns take {length:,} cells, {_MAX_CELLS:,} is the most; "
                "learn them in two studies, or fill in public numbers and categories"
            )
        buckets //= 2


def _columns(schema: Schema, buckets: int) -> Iterator[OpenColumn]:
    start = first_code = 0
    for column in schema.open_columns:
        category = column.kind == "category"
        made = tables(buckets, _BESIDES) if category else ()
        axis = None if category else number_axis(column.kind)
        cells = sum(table.size for table in made) if axis is None else axis.size + axis.num_groups
        open_column = OpenColumn(
            column=column,
            start=start,
            size=_BESIDES + cells,
            first_code=first_code,
            norm=NORM if category else NUMBER_NORM,
            axis=axis,
            tables=made,
        )
        yield open_column
        start += open_column.size
        first_code += open_column.num_codes


def _number_cells(open_column: OpenColumn, raw: pd.Series) -> npt.NDArray[Any]:
    assert open_column.axis is not None
    cells = read_numbers(open_column.column, raw)
    codes = _BESIDES + open_column.axis.locate(cells.values)
    codes[cells.unreadable] = UNFIT
    codes[cells.missing] = MISSING
    return codes


def _counts(axis: NumberAxis, codes: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    counts = np.bincount(codes, minlength=_BESIDES + axis.size).astype(np.int64)
    besides, cells = counts[:_BESIDES], counts[_BESIDES:]
    groups = np.zeros(axis.num_groups, dtype=np.int64)
    np.add.at(groups, axis.groups, cells)
    return np.concatenate([NUMBER_NORM * besides, CELL_WEIGHT * cells, GROUP_WEIGHT * groups])


def _packed(raw: pd.Series) -> npt.NDArray[np.int32]:
    """Returns length and bytes of each text, (N, 13)."""
    texts, is_missing = read_texts(raw)
    distinct, inverse = pd.factorize(texts)[::-1]
    packed = np.zeros((len(distinct), 1 + _WORDS), dtype=np.int32)
    for row, text in zip(packed, distinct, strict=True):
        data = text.encode() if text and text.isprintable() else b""
        if not 1 <= len(data) <= MAX_BYTES:
            row[0] = -2
            continue
        row[0] = len(data)
        row[1:] = np.frombuffer(data.ljust(MAX_BYTES, b"\0"), dtype=">i4")
    codes: npt.NDArray[np.int32] = packed[inverse]
    codes[is_missing] = 0
    codes[is_missing, 0] = -1
    return codes


def _distinct(codes: Codes) -> tuple[Codes, npt.NDArray[np.int64]]:
    whole = np.ascontiguousarray(codes).view(np.dtype((np.void, codes.shape[1] * 4))).reshape(-1)
    _, first, counts = np.unique(whole, return_index=True, return_counts=True)
    return codes[first], counts


def _cells_of_text(open_column: OpenColumn, row: Codes) -> Iterator[tuple[Any, Any]]:
    """Yields positions within the column and what one record of this text adds there."""
    length = int(row[0])
    if length < 0:
        yield (MISSING if length == -1 else UNFIT), NORM
        return
    data = row[1:].astype(">i4").tobytes()[:length]
    table = next(table for table in open_column.tables if length <= table.longest)
    bucket, symbols = encode_category(data.decode(), column=open_column.column.name, table=table)
    places = (bucket * table.symbols + np.arange(table.symbols)) * SYMBOL_CELLS
    signs = np.where(symbols < SYMBOL_CELLS, 1, -1)
    yield table.start + places + symbols % SYMBOL_CELLS, table.weight * signs
