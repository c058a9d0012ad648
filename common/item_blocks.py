"""Where the items of sets stand in a coded record, and among the counts of all items.

A set column with V items, of which a record keeps at most k, is two things. Its block is the number
of items, an ordinary column of k + 1 cells. The items themselves follow the codes of all features:
k places that hold the positions of the record's items, ascending, then -1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fedloom.common.schema import Schema

__all__ = ["ItemBlock", "item_blocks", "item_feature"]


@dataclass(frozen=True, slots=True)
class ItemBlock:
    """The items of one set column.

    Attributes:
      name: The column's name.
      index: The column's position in the schema.
      feature: Position of its number of items among the features.
      values: The items, V.
      most: Items that a record keeps, k; at most V.
      start: Position of its first item among the items of all sets.
      place: Its first place after the codes of a record.
    """

    name: str
    index: int
    feature: int
    values: tuple[str, ...]
    most: int
    start: int
    place: int

    @property
    def size(self) -> int:
        """The number of items, V."""
        return len(self.values)


def item_feature(column: str, item: str) -> str:
    """Returns the name of the column that says whether a record has an item of a set.

    No column of a schema has such a name: theirs are printable.
    """
    return f"{column}\0{item}"


def item_blocks(schema: Schema, indices: Sequence[int]) -> tuple[ItemBlock, ...]:
    """Returns the sets of a schema, in its order.

    Args:
      schema: The public schema.
      indices: The column of each feature.
    """
    found: list[ItemBlock] = []
    for feature, index in enumerate(indices):
        column = schema.columns[index]
        if column.kind == "set":
            before = found[-1] if found else None
            found.append(
                ItemBlock(
                    name=column.name,
                    index=index,
                    feature=feature,
                    values=column.values,
                    most=int(column.maximum),  # type: ignore[arg-type]
                    start=0 if before is None else before.start + before.size,
                    place=0 if before is None else before.place + before.most,
                )
            )
    return tuple(found)
