"""Records on their way to a table: cells of all columns, and the numbers drawn within them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fedloom.common.constraints import Comparable, breaks
from fedloom.common.decoding import draw_values, has_no_value, typed_column
from fedloom.common.encoding import Encoding
from fedloom.common.sampling.allowed import AllowedValues
from fedloom.common.schema_constraint import Constraint

__all__ = ["Rows"]

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Synthetic records.

    Attributes:
      encoding: Of the schema.
      codes: Cell of each record in each column's block, (N, columns).
      values: By column, the numbers (N,) on its axis, or None for a category. Of a set it is the
        number of items.
      items: By the place of a set column, its items (N, most).
    """

    encoding: Encoding
    codes: Array
    values: list[Array | None]
    items: dict[int, Array]

    @classmethod
    def drawn(
        cls,
        encoding: Encoding,
        codes: Array,
        items: Mapping[int, Array],
        allowed: Mapping[str, AllowedValues],
        rng: np.random.Generator,
    ) -> Rows:
        """Draws the numbers within cells (N, columns), as far as conditions allow them."""
        values: list[Array | None] = []
        for block, grid in zip(encoding.blocks, encoding.grids, strict=True):
            cells = codes[:, block.index]
            if grid is None:
                values.append(None)
            elif block.name in allowed:
                values.append(allowed[block.name].draw(cells, rng))
            else:
                values.append(draw_values(grid, cells, rng))
        return cls(encoding, codes, values, {place: part.copy() for place, part in items.items()})

    def __len__(self) -> int:
        """Returns the number of records."""
        return len(self.codes)

    def set_numbers(self, numbers: Mapping[str, Array]) -> None:
        """Overwrites drawn numbers (N,) of some columns wherever the given ones are no NaN."""
        for name, given in numbers.items():
            values = self.values[self.encoding.schema.names.index(name)]
            if values is not None:
                np.copyto(values, given, where=~np.isnan(given))

    def put(self, places: Array, other: Rows, chosen: Array) -> None:
        """Overwrites the records at `places` by the chosen ones of `other`."""
        self.codes[places] = other.codes[chosen]
        for place, items in self.items.items():
            items[places] = other.items[place][chosen]
        for mine, theirs in zip(self.values, other.values, strict=True):
            if mine is not None and theirs is not None:
                mine[places] = theirs[chosen]

    def take(self, chosen: Array) -> Rows:
        """Returns the chosen records, as a copy."""
        values = [None if part is None else part[chosen] for part in self.values]
        items = {place: part[chosen] for place, part in self.items.items()}
        return Rows(self.encoding, self.codes[chosen], values, items)

    def column(self, name: str) -> Comparable:
        """Returns a column as numbers to compare, and where it has no value."""
        index = self.encoding.schema.names.index(name)
        column, block = self.encoding.schema.columns[index], self.encoding.blocks[index]
        codes, values = self.codes[:, index], self.values[index]
        missing = has_no_value(column, block, codes)
        if values is None:
            return np.where(codes == block.size - 1, len(column.values), codes), missing
        return values, missing

    def broken(self, constraints: Iterable[Constraint] | None = None) -> npt.NDArray[np.bool_]:
        """Tells which records (N,) break one of the constraints, by default of all the schema's."""
        found = np.zeros(len(self), dtype=bool)
        schema = self.encoding.schema
        for constraint in schema.constraints if constraints is None else constraints:
            found |= breaks(constraint, schema, self.column)
        return found

    def frame(self) -> pd.DataFrame:
        """Returns the records in the types and the column order of the schema."""
        parts = zip(self.encoding.schema.columns, self.encoding.blocks, self.values, strict=True)
        return pd.DataFrame(
            {
                column.name: typed_column(
                    column, block, self.codes[:, block.index], values, self.items.get(block.index)
                )
                for column, block, values in parts
            }
        )
