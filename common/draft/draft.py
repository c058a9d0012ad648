"""What is known of a table's columns before its schema is complete.

Nothing here is taken from records by itself: a codebook is a document that people wrote, and what
is read from a table says so by `Draft.source`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fedloom.common.column import Bound
from fedloom.common.errors import SchemaError

__all__ = ["DOCUMENT", "MADE_UP", "PUBLIC", "Draft", "DraftColumn"]

# Where kinds, bounds and categories come from.
DOCUMENT = "a document"
PUBLIC = "a public file"
MADE_UP = "made-up rows"


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftColumn:
    """One column as far as a document or a table tells it.

    Attributes:
      name: As in the records.
      kind: Of a schema; None if nothing tells it.
      minimum: Smallest value; None if nothing tells it.
      maximum: Largest value; None if nothing tells it.
      values: Categories; none if nothing tells them.
      special: Values that stand apart from a numeric column's range.
      nullable: Whether values may be missing; None if nothing tells it.
      other: Label of categories outside the list, or None.
      scale: `auto`, `linear` or `log`.
      max_items: Most items of a set; None of any other kind.
      separator: Between the items of a set; None of any other kind.
      description: For people, with unit and what the codes mean.
      hints: Lines for whoever completes the schema.
    """

    name: str
    kind: str | None
    minimum: Bound | None = None
    maximum: Bound | None = None
    values: tuple[str, ...] = ()
    special: tuple[Bound, ...] = ()
    nullable: bool | None = None
    other: str | None = None
    scale: str = "auto"
    max_items: int | None = None
    separator: str | None = None
    description: str = ""
    hints: tuple[str, ...] = ()

    @property
    def numeric(self) -> bool:
        """Whether it has bounds rather than categories."""
        return self.kind in ("integer", "real", "datetime")

    @property
    def known(self) -> bool:
        """Whether kind and bounds, or kind and categories, are all told."""
        if self.numeric:
            return self.minimum is not None and self.maximum is not None
        return self.kind is not None and bool(self.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """Columns of a table, and what of it does not become a column.

    Attributes:
      form: What kind of document or table it was read from, in words.
      source: `DOCUMENT`; `PUBLIC`, a file whose every value everybody may know; or `MADE_UP`, rows
        of which nothing but kinds was taken.
      columns: In the order of the document.
      left_out: By name, why something is no column.
      notes: Lines about the whole.
      constraints: As in a schema file, from a document that states them.
    """

    form: str
    source: str
    columns: tuple[DraftColumn, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    constraints: tuple[Mapping[str, Any], ...] = ()

    def __post_init__(self) -> None:
        """Refuses a draft without columns, or with two of one name.

        Raises:
          SchemaError: names what is wrong.
        """
        if not self.columns:
            raise SchemaError("nothing in it can be a column; name kinds that fedloom knows")
        names = [column.name for column in self.columns]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise SchemaError(f"column '{repeated[0]}' is described twice; keep one description")
