"""The public description of a table: its columns, their kinds, bounds and categories.

A schema is written by people from a data set's documentation and is never derived from private
records; everything that is fitted "on the schema" is therefore public. A schema that exists is
sound: `Column` and `Schema` check themselves, and every error names file, column and remedy.

    [[column]]
    name = "age"
    kind = "integer"       # integer | real | category | datetime
    min = 0
    max = 120
    nullable = true        # missing values are kept as missing, and synthesised
    special = [0]          # values that stand apart and are kept exact; may lie outside the bounds
    bins = 60              # public grid; otherwise chosen from the bounds
    scale = "auto"         # auto | linear | log
    [[column]]
    name = "sex"
    kind = "category"
    values = ["0", "1"]
    other = "unknown"      # values outside the list are synthesised under this label
"""

from __future__ import annotations

import datetime as dt
import math
import tomllib
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

from fedloom.common.digest import digest
from fedloom.common.errors import SchemaError

__all__ = ["KINDS", "MAX_BINS", "SCALES", "Bound", "Column", "Schema"]

Bound = int | float | dt.date | dt.datetime

KINDS = ("integer", "real", "category", "datetime")
SCALES = ("auto", "linear", "log")
MAX_BINS = 1024
_LARGEST_EXACT = 2**53
_KEYS = "name kind min max values nullable special bins scale other description".split()


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Attributes:
      name: As in the records.
      kind: `integer`, `real`, `category` or `datetime`.
      minimum: Smallest value (inclusive) of an integer, real or datetime column.
      maximum: Largest value (inclusive). Two dates make a column of dates, otherwise timestamps
        to the second; both in UTC or in one local time.
      values: Categories, as strings, in the order of the encoding.
      nullable: Missing values are part of the table.
      special: Values that stand apart from the grid and are kept exact, such as a spike at zero.
      bins: Size of the public grid, or None for the default.
      scale: `auto`, `linear` or `log`.
      other: Label under which category values outside `values` are synthesised, or None.
      description: For people; part of the digest.
    """

    name: str
    kind: str
    _: KW_ONLY
    minimum: Bound | None = None
    maximum: Bound | None = None
    values: tuple[str, ...] = ()
    nullable: bool = False
    special: tuple[Bound, ...] = ()
    bins: int | None = None
    scale: str = "auto"
    other: str | None = None
    description: str = ""

    def __post_init__(self) -> None:
        """Refuses a column that contradicts itself."""
        if not isinstance(self.name, str) or not self.name.strip() or not self.name.isprintable():
            raise SchemaError(f"a column has the name {self.name!r}; give it a printable name")
        if self.kind not in KINDS:
            raise self._error(f"kind is {self.kind!r}; choose one of {', '.join(KINDS)}")
        for key, value, wanted in (
            ("nullable", self.nullable, bool),
            ("description", self.description, str),
        ):
            if not isinstance(value, wanted):
                raise self._error(f"{key} must be a {wanted.__name__}, got {value!r}")
        if self.kind == "category":
            self._check_category()
        else:
            self._check_number()

    @property
    def dates_only(self) -> bool:
        """Whether a datetime column holds dates without a time of day."""
        return self.kind == "datetime" and not isinstance(self.minimum, dt.datetime)

    def to_dict(self) -> dict[str, Any]:
        """Returns the column as in TOML, JSON-able, with nothing that equals its default."""
        pairs = {
            "name": self.name,
            "kind": self.kind,
            "min": _plain(self.minimum),
            "max": _plain(self.maximum),
            "values": list(self.values) or None,
            "nullable": self.nullable or None,
            "special": [_plain(value) for value in self.special] or None,
            "bins": self.bins,
            "scale": None if self.scale == "auto" else self.scale,
            "other": self.other,
            "description": self.description or None,
        }
        return {key: value for key, value in pairs.items() if value is not None}

    def _error(self, message: str) -> SchemaError:
        return SchemaError(f"column '{self.name}': {message}")

    def _set(self, field: str, value: object) -> None:
        object.__setattr__(self, field, value)

    def _check_category(self) -> None:
        given = {"min": self.minimum, "max": self.maximum, "bins": self.bins}
        for key, value in given.items():
            if value is not None:
                raise self._error(f"a category has no {key}; remove it or change the kind")
        if self.special:
            raise self._error("a category has no special values; put them into values")
        if self.scale != "auto":
            raise self._error("a category has no scale; remove it")
        if isinstance(self.values, str) or not all(
            isinstance(v, (str, int, float)) and not isinstance(v, bool) for v in self.values
        ):
            raise self._error('values must be a list of strings, such as ["no", "yes"]')
        values = tuple(str(value) for value in self.values)
        self._set("values", values)
        if self.other is not None and (not isinstance(self.other, str) or not self.other):
            raise self._error(f"other must be a label in quotes, got {self.other!r}")
        repeated = sorted({value for value in values if values.count(value) > 1})
        if repeated:
            raise self._error(f"values lists {repeated[0]!r} twice; list each once")
        if self.other in values:
            raise self._error(f"other = {self.other!r} is also one of values; keep one of the two")
        if not values:
            raise self._error("a category needs values = [...], from the documentation")
        if len(values) + self.nullable + (self.other is not None) < 2:
            raise self._error("a single value carries nothing; list more values or drop the column")

    def _check_number(self) -> None:
        if self.values:
            raise self._error(f"values belong to kind 'category', not to {self.kind!r}")
        if self.other is not None:
            raise self._error(f"other belongs to kind 'category', not to {self.kind!r}")
        if self.scale not in SCALES:
            raise self._error(f"scale is {self.scale!r}; choose one of {', '.join(SCALES)}")
        if self.kind == "datetime" and self.scale == "log":
            raise self._error("a datetime has no log scale; remove it")
        if self.minimum is None or self.maximum is None:
            raise self._error(f"kind {self.kind!r} needs min and max, from the documentation")
        if not isinstance(self.special, (list, tuple)):
            raise self._error(f"special must be a list, such as [0], got {self.special!r}")
        minimum = self._bound("min", self.minimum)
        maximum = self._bound("max", self.maximum)
        special = tuple(self._bound("special", value) for value in self.special)
        if self.kind == "datetime" and type(minimum) is not type(maximum):
            minimum, maximum = _at_midnight(minimum), _at_midnight(maximum)
        if type(minimum) is dt.datetime:
            special = tuple(_at_midnight(value) for value in special)
        if not minimum < maximum:  # type: ignore[operator]
            raise self._error(f"min {minimum} is not below max {maximum}; swap or widen them")
        if len(set(special)) < len(special):
            raise self._error("special lists a value twice; list each once")
        self._set("minimum", minimum)
        self._set("maximum", maximum)
        self._set("special", special)
        if self.kind == "integer":
            inside = sum(minimum <= value <= maximum for value in special)  # type: ignore[operator]
            if inside > maximum - minimum:  # type: ignore[operator]
                raise self._error("special leaves no ordinary value; use kind 'category'")
        if self.bins is not None and (
            not isinstance(self.bins, int)
            or isinstance(self.bins, bool)
            or not 1 <= self.bins <= MAX_BINS
        ):
            raise self._error(f"bins must be a whole number from 1 to {MAX_BINS}, got {self.bins}")

    def _bound(self, key: str, value: object) -> Bound:
        if self.kind == "datetime":
            return self._time_bound(key, value)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self._error(f"{key} must be a number, got {value!r}")
        if not math.isfinite(value) or abs(value) > _LARGEST_EXACT and self.kind == "integer":
            raise self._error(f"{key} is {value!r}; give a finite number below 2^53")
        if self.kind == "real":
            return float(value)
        if value != int(value):
            raise self._error(f"{key} is {value!r}, but the kind is 'integer'; use kind 'real'")
        return int(value)

    def _time_bound(self, key: str, value: object) -> Bound:
        remedy = "write a date such as 2020-01-31 or a time such as 2020-01-31T12:00:00"
        if isinstance(value, str):
            parse = dt.date.fromisoformat if len(value) <= 10 else dt.datetime.fromisoformat
            try:
                value = parse(value)
            except ValueError:
                raise self._error(f"{key} is {value!r}; {remedy}") from None
        if not isinstance(value, dt.date):
            raise self._error(f"{key} is {value!r}; {remedy}")
        if isinstance(value, dt.datetime):
            if value.tzinfo is not None:
                raise self._error(f"{key} has a time zone; {remedy}, in UTC, without an offset")
            return value.replace(microsecond=0)
        return value


@dataclass(frozen=True, slots=True)
class Schema:
    """The public description of a table; see the module's docstring for the file.

    >>> age = {"name": "age", "kind": "integer", "min": 0, "max": 120}
    >>> Schema.from_dict({"column": [age]}).names
    ('age',)
    """

    columns: tuple[Column, ...]

    def __post_init__(self) -> None:
        """Refuses an empty schema and names that repeat."""
        object.__setattr__(self, "columns", tuple(self.columns))
        if not self.columns:
            raise SchemaError("the schema has no columns; describe each under [[column]]")
        names = self.names
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise SchemaError(f"column '{repeated[0]}' is described twice; keep one description")

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
            return cls.from_dict(data)
        except SchemaError as error:
            raise SchemaError(f"{path}: {error}") from None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Schema:
        """Builds a schema from what TOML or `to_dict` gives.

        Raises:
          SchemaError: a key is unknown or a column contradicts itself.
        """
        unknown = sorted(set(data) - {"column"})
        if unknown:
            raise SchemaError(f"unknown key '{unknown[0]}'; a schema holds [[column]] tables only")
        entries = data.get("column", [])
        if not isinstance(entries, list) or not all(isinstance(e, Mapping) for e in entries):
            raise SchemaError("columns must be written as [[column]], with double brackets")
        return cls(tuple(_column(entry, number) for number, entry in enumerate(entries, 1)))

    def to_dict(self) -> dict[str, Any]:
        """Returns the canonical, JSON-able form; `from_dict` reads it back."""
        return {"column": [column.to_dict() for column in self.columns]}

    def digest(self) -> str:
        """Returns the SHA-256 of the canonical form."""
        return digest(self.to_dict())

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns, in order."""
        return tuple(column.name for column in self.columns)

    def column(self, name: str) -> Column:
        """Returns the column called `name`.

        Raises:
          SchemaError: there is none.
        """
        for column in self.columns:
            if column.name == name:
                return column
        raise SchemaError(f"no column '{name}' in the schema; it has {', '.join(self.names)}")


def _column(entry: Mapping[str, Any], number: int) -> Column:
    name = entry.get("name")
    if name is None:
        raise SchemaError(f'column number {number} has no name; add name = "..."')
    unknown = sorted(set(entry) - set(_KEYS))
    if unknown:
        raise SchemaError(f"column '{name}': unknown key '{unknown[0]}'; known: {', '.join(_KEYS)}")
    if "kind" not in entry:
        raise SchemaError(f"column '{name}': no kind; add one of {', '.join(KINDS)}")
    fields = {{"min": "minimum", "max": "maximum"}.get(k, k): v for k, v in entry.items()}
    for key in ("values", "special"):
        if key in fields:
            if not isinstance(fields[key], (list, tuple)):
                raise SchemaError(f"column '{name}': {key} must be a list in brackets")
            fields[key] = tuple(fields[key])
    return Column(fields.pop("name"), fields.pop("kind"), **fields)


def _plain(value: Bound | None) -> int | float | str | None:
    return value.isoformat() if isinstance(value, dt.date) else value


def _at_midnight(value: Bound) -> Bound:
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        return dt.datetime(value.year, value.month, value.day)
    return value
