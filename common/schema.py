"""The public description of records: columns, their kinds, bounds and categories.

A schema is written by people from a data set's documentation, or completed by a study that paid
for what it learned from records; everything that is fitted "on the schema" is therefore public. A
schema that exists is sound: `Column` and `Schema` check themselves, and every error names file,
column and remedy.

    [[column]]
    name = "age"
    kind = "integer"       # integer | real | category | datetime | set
    min = 0
    max = 120
    nullable = true        # missing values are kept as missing, and synthesised
    special = [0]          # values that stand apart and are kept exact; may lie outside the bounds
    bins = 60              # public grid; otherwise chosen from the bounds
    scale = "auto"         # auto | linear | log
    edges = [18, 65]       # or the grid itself: where each bin but the first begins
    [[column]]
    name = "sex"
    kind = "category"
    values = ["0", "1"]
    other = "unknown"      # values outside the list are synthesised under this label
    [[column]]
    name = "diagnosis"
    kind = "category"
    hierarchy = "icd9.csv" # public codes and their parents; see `fedloom.common.code_hierarchy`
    parent = "chapter"     # a column that holds one of them; see `fedloom.common.parent_column`
    [[column]]
    name = "drugs"
    kind = "set"           # several items in one record; see `fedloom.common.set_cells`
    values = ["A10", "C09", "N02"]
    max_items = 2          # of each record; the first that are listed
    separator = "|"        # between them in a cell

Where no document tells them, `bounds = "private"` in place of min and max, or `values = "private"`
in place of the list, leave a column open: a study of the kind "schema" learns them at a price. What
it learned says so in a table of its own; see `fedloom.common.schema_origin`.

Records that are more than their columns have a section of their kind, such as `[image]`; see
`fedloom.common.records`. Without one they are rows of a table.

Constraints between columns follow under `[[constraint]]`; see `fedloom.common.schema_constraint`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fedloom.common.blanks import BLANK, blanks
from fedloom.common.code_hierarchy import with_hierarchy_files
from fedloom.common.column import KINDS, MAX_BINS, SCALES, Bound, Column
from fedloom.common.digest import digest
from fedloom.common.errors import SchemaError
from fedloom.common.item_files import with_item_files
from fedloom.common.parent_column import with_parent_columns
from fedloom.common.records import (
    RECORDS,
    RecordKind,
    RecordSettings,
    TableSettings,
    read_records,
    record_kind,
)
from fedloom.common.schema_constraint import (
    Constraint,
    checked_constraints,
    constraints_from,
    with_listed_files,
)
from fedloom.common.schema_origin import SchemaOrigin
from fedloom.common.text import as_text
from fedloom.common.typed import plain

__all__ = ["KINDS", "MAX_BINS", "SCALES", "Bound", "Column", "Schema"]


@dataclass(frozen=True, slots=True)
class Schema:
    """The public description of records; see the module's docstring for the file.

    >>> age = {"name": "age", "kind": "integer", "min": 0, "max": 120}
    >>> Schema.from_dict({"column": [age]}).names
    ('age',)
    """

    columns: tuple[Column, ...]
    constraints: tuple[Constraint, ...] = ()
    learned: tuple[SchemaOrigin, ...] = ()
    records: RecordSettings = field(default_factory=TableSettings)

    def __post_init__(self) -> None:
        """Refuses an empty schema, names that repeat, and constraints that cannot be kept."""
        object.__setattr__(self, "columns", tuple(self.columns))
        if not self.columns and self.kind.only_columns:
            raise SchemaError("the schema has no columns; describe each under [[column]]")
        names = self.names
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise SchemaError(f"column '{repeated[0]}' is described twice; keep one description")
        sets = [column.name for column in self.columns if column.kind == "set"]
        if sets and not self.kind.only_columns:
            raise SchemaError(
                f"column '{sets[0]}' is a set, and {self.kind.name} records have none; give a "
                "column of its own to each item that matters"
            )
        columns, rules = with_parent_columns(self.columns, self.constraints)
        object.__setattr__(self, "columns", columns)
        constraints = checked_constraints(rules, columns)
        object.__setattr__(self, "constraints", constraints)

    @classmethod
    def load(cls, path: Path | str) -> Schema:
        """Reads a schema file.

        Raises:
          SchemaError: the file cannot be read, is not TOML or describes no sound table.
        """
        path = Path(path)
        try:
            with path.open("rb") as stream:
                data = tomllib.load(stream)
        except OSError as error:
            reason = error.strerror or "cannot be read"
            raise SchemaError(f"{path}: {reason}; give the path of a schema file") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SchemaError(f"{path}: not valid TOML: {error}") from None
        try:
            for read in (with_listed_files, with_hierarchy_files, with_item_files):
                data = read(data, path.parent)
            return cls.from_dict(data)
        except SchemaError as error:
            raise SchemaError(f"{path}: {error}") from None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Schema:
        """Builds a schema from what TOML or `to_dict` gives.

        Raises:
          SchemaError: a key is unknown or a column contradicts itself.
        """
        unknown = sorted(set(data) - {"column", "constraint", "learned", *RECORDS})
        if unknown:
            raise SchemaError(
                f"unknown key '{unknown[0]}'; a schema holds [[column]] and [[constraint]] tables"
            )
        entries = data.get("column", [])
        if not isinstance(entries, list) or not all(isinstance(e, Mapping) for e in entries):
            raise SchemaError("columns must be written as [[column]], with double brackets")
        to_fill_in = blanks(entries)
        if to_fill_in:
            raise SchemaError(
                f'still "{BLANK}": {"; ".join(to_fill_in)}; write what a document tells, or leave '
                'the column open: bounds = "private" or values = "private"'
            )
        columns = tuple(Column.from_dict(entry, number) for number, entry in enumerate(entries, 1))
        names = tuple(column.name for column in columns)
        origins = data.get("learned", [])
        if not isinstance(origins, list):
            raise SchemaError("origins must be written as [[learned]], with double brackets")
        learned = tuple(SchemaOrigin.from_dict(entry, names) for entry in origins)
        constraints = constraints_from(data.get("constraint", []))
        return cls(columns, constraints, learned, read_records(data))

    def to_dict(self) -> dict[str, Any]:
        """Returns the canonical, JSON-able form; `from_dict` reads it back."""
        made: dict[str, Any] = {"column": [column.to_dict() for column in self.columns]}
        if self.kind.settings is not TableSettings:
            made[self.kind.name] = plain(self.records)
        if self.constraints:
            made["constraint"] = [constraint.to_dict() for constraint in self.constraints]
        if self.learned:
            made["learned"] = [origin.to_dict() for origin in self.learned]
        return made

    def digest(self) -> str:
        """Returns the SHA-256 of the canonical form."""
        return digest(self.to_dict())

    @property
    def kind(self) -> RecordKind:
        """What fedloom knows of records of this kind."""
        return record_kind(self.records)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns, in order."""
        return tuple(column.name for column in self.columns)

    @property
    def open_columns(self) -> tuple[Column, ...]:
        """The columns whose bounds or categories must be learned first."""
        return tuple(column for column in self.columns if column.open)

    def column(self, name: str) -> Column:
        """Returns the column called `name`.

        Raises:
          SchemaError: there is none.
        """
        for column in self.columns:
            if column.name == as_text(name):
                return column
        raise SchemaError(f"no column '{name}' in the schema; it has {', '.join(self.names)}")
