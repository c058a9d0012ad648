"""One column of a table: kind, bounds or categories, and how its axis is cut.

A column that exists is sound: it checks itself, and every error names column and remedy. The keys
of its table in a schema file are shown in `fedloom.common.schema`.
"""

from __future__ import annotations

import datetime as dt
import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any, TypeVar

from fedloom.common.code_hierarchy import Pairs, checked_hierarchy, leaves
from fedloom.common.errors import SchemaError
from fedloom.common.text import as_text, normal

__all__ = ["KINDS", "MAX_BINS", "MAX_ITEMS", "SCALES", "Bound", "Column"]

Read = TypeVar("Read")
Bound = int | float | dt.date | dt.datetime

KINDS = ("integer", "real", "category", "datetime", "set")
SCALES = ("auto", "linear", "log")
MAX_BINS, MAX_ITEMS = 1024, 32
_MAX_EXACT = 2**53
_KEYS = (
    "name kind min max bounds values nullable special bins scale edges other hierarchy parent "
    "max_items separator description"
).split()
_FIELDS = {"min": "minimum", "max": "maximum", "max_items": "maximum"}
_BOUNDS, _OF_SETS = ("min", "max", "bounds"), ("max_items", "separator")
_PRIVATE = "private"
_LINE_ENDS = set("\r\n\0")
_BAR = "|"


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Attributes:
      name: As in the records, in Unicode's normal form C, as all text here is.
      kind: `integer`, `real`, `category`, `datetime` or `set`: several of the values in one record.
      minimum: Smallest value (inclusive) of an integer, real or datetime column; of a set 0.
      maximum: Largest value (inclusive). Two dates make a column of dates, otherwise timestamps
        to the second; both in UTC or in one local time. Of a set the most items (`max_items`).
      values: Categories, or the items of sets, as strings, in the order of the encoding.
      nullable: Missing values are part of the table.
      special: Values that stand apart from the grid and are kept exact, such as a spike at zero.
      bins: Size of the public grid, or None for the default.
      scale: `auto`, `linear` or `log`.
      edges: First value of each bin but the first, increasing; or none. Not for datetimes.
      open: Bounds or categories are private and must be learned; there are none here.
      other: Label under which category values outside `values` are synthesised, or None.
      hierarchy: Pairs of code and parent above the values, sorted; see
        `fedloom.common.code_hierarchy`.
      parent: Column that holds a parent of each of the values, or None; see
        `fedloom.common.parent_column`.
      separator: Between the items of a set, where it is written as text.
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
    edges: tuple[Bound, ...] = ()
    open: bool = False
    other: str | None = None
    hierarchy: Pairs = ()
    parent: str | None = None
    separator: str = _BAR
    description: str = ""

    def __post_init__(self) -> None:
        """Refuses a column that contradicts itself."""
        self._set("name", as_text(self.name))
        self._set("other", as_text(self.other))
        self._set("parent", as_text(self.parent))
        if not isinstance(self.name, str) or not self.name.strip() or not self.name.isprintable():
            raise SchemaError(f"a column has the name {self.name!r}; give it a printable name")
        if self.kind not in KINDS:
            raise self._error(f"kind is {self.kind!r}; choose one of {', '.join(KINDS)}")
        for key, value, wanted in (
            ("nullable", self.nullable, bool),
            ("description", self.description, str),
            ("open", self.open, bool),
        ):
            if not isinstance(value, wanted):
                raise self._error(f"{key} must be a {wanted.__name__}, got {value!r}")
        if self.kind == "category":
            self._check_category()
        elif self.kind == "set":
            self._check_set()
        else:
            self._check_number()

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any], number: int) -> Column:
        """Builds a column from its table in TOML, or from what `to_dict` gives.

        Args:
          entry: The table.
          number: Its place in the file, from 1, for messages.

        Raises:
          SchemaError: a key is missing or unknown, or the column contradicts itself.
        """
        name = entry.get("name")
        if name is None:
            raise SchemaError(f'column number {number} has no name; add name = "..."')
        unknown = sorted(set(entry) - set(_KEYS))
        if unknown:
            raise SchemaError(
                f"column '{name}': unknown key '{unknown[0]}'; known: {', '.join(_KEYS)}"
            )
        if "kind" not in entry:
            raise SchemaError(f"column '{name}': no kind; add one of {', '.join(KINDS)}")
        for key in _BOUNDS if entry["kind"] == "set" else _OF_SETS:
            if key in entry:
                raise SchemaError(
                    f"column '{name}': kind {entry['kind']!r} has no {key}; remove it (a set has "
                    "max_items, numbers and times have min and max)"
                )
        fields = {_FIELDS.get(k, k): v for k, v in entry.items()}
        if "bounds" in fields:
            if fields["bounds"] != _PRIVATE or fields["kind"] == "category":
                raise SchemaError(
                    f"column '{name}': bounds is either absent or \"private\", and for numbers and "
                    "times alone; give min and max instead"
                )
            del fields["bounds"]
            fields["open"] = True
        if fields.get("values") == _PRIVATE and fields["kind"] == "category":
            del fields["values"]
            fields["open"] = True
        for key in ("values", "special", "edges", "hierarchy"):
            if key in fields:
                if not isinstance(fields[key], (list, tuple)):
                    raise SchemaError(f"column '{name}': {key} must be a list in brackets")
                fields[key] = tuple(fields[key])
        return cls(fields.pop("name"), fields.pop("kind"), **fields)

    @property
    def dates_only(self) -> bool:
        """Whether a datetime column holds dates without a time of day."""
        return self.kind == "datetime" and not isinstance(self.minimum, dt.datetime)

    def to_dict(self) -> dict[str, Any]:
        """Returns the column as in TOML, JSON-able, with nothing that equals its default."""
        of_set = self.kind == "set"
        pairs = {
            "name": self.name,
            "kind": self.kind,
            "min": None if of_set else _plain(self.minimum),
            "max": None if of_set else _plain(self.maximum),
            "max_items": self.maximum if of_set else None,
            "separator": None if self.separator == _BAR else self.separator,
            "bounds": _PRIVATE if self.open and self.kind != "category" else None,
            "values": _PRIVATE
            if self.open and self.kind == "category"
            else list(self.values) or None,
            "nullable": self.nullable or None,
            "special": [_plain(value) for value in self.special] or None,
            "bins": self.bins,
            "scale": None if self.scale == "auto" else self.scale,
            "edges": list(self.edges) or None,
            "other": self.other,
            "hierarchy": [list(pair) for pair in self.hierarchy] or None,
            "parent": self.parent,
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
        if self.scale != "auto" or self.edges:
            raise self._error("a category has no scale and no edges; remove them")
        if self.other is not None and (not isinstance(self.other, str) or not self.other):
            raise self._error(f"other must be a label in quotes, got {self.other!r}")
        values = self._checked_values()
        if self.other in values:
            raise self._error(f"other = {self.other!r} is also one of values; keep one of the two")
        if self.parent is not None and (not isinstance(self.parent, str) or not self.parent):
            raise self._error(f"parent must be a column's name in quotes, got {self.parent!r}")
        if self.hierarchy:
            known = None if self.open else values
            pairs = self._of_hierarchy(lambda: checked_hierarchy(self.hierarchy, known, self.other))
            self._set("hierarchy", pairs)
        if self.open:
            if values:
                raise self._error('values are either listed or "private"; keep one of the two')
            return
        if not values:
            raise self._error(
                "a category needs values = [...], from the documentation; where there is none, "
                'values = "private" has a study of kind "schema" learn them'
            )
        if len(values) + self.nullable + (self.other is not None) < 2:
            raise self._error("a single value carries nothing; list more values or drop the column")

    def _checked_values(self) -> tuple[str, ...]:
        """Returns the values as texts, each once; without any, those of the hierarchy."""
        if isinstance(self.values, str) or not all(
            isinstance(v, (str, int, float)) and not isinstance(v, bool) for v in self.values
        ):
            raise self._error('values must be a list of strings, such as ["no", "yes"]')
        values = tuple(normal(str(value)) for value in self.values)
        if self.hierarchy and not values and not self.open:
            values = self._of_hierarchy(lambda: leaves(self.hierarchy))
        self._set("values", values)
        # An empty cell of a CSV file is a missing value, and its lines end at the end of a row.
        for text in (*values, *([] if self.other is None else [self.other])):
            if not text or set(text) & _LINE_ENDS:
                raise self._error(
                    f"{text!r} is no category: a category is text on one line; for missing values "
                    "say nullable = true"
                )
        repeated = sorted(value for value, times in Counter(values).items() if times > 1)
        if repeated:
            raise self._error(f"values lists {repeated[0]!r} twice; list each once")
        return values

    def _check_set(self) -> None:
        """Refuses a set that contradicts itself; its bounds become those of its number of items."""
        for key in ("special", "bins", "scale", "edges", "other", "hierarchy", "parent"):
            if getattr(self, key) not in ((), None, "auto"):
                raise self._error(f"a set has no {key}; remove it")
        values = self._checked_values()
        if self.open or not values:
            raise self._error("a set needs values = [...], all its items, from the documentation")
        most = min(MAX_ITEMS, len(values))
        if (
            not isinstance(self.maximum, int)
            or isinstance(self.maximum, bool)
            or not 1 <= self.maximum <= most
        ):
            raise self._error(
                f"max_items must be a whole number from 1 to {most}, got {self.maximum!r}: so many "
                "items of a record are kept at the most"
            )
        mark = self.separator
        one = isinstance(mark, str) and len(mark) == 1
        if not one or mark.isalnum() or not mark.strip().strip("\0"):
            raise self._error(f'separator must be one sign, such as "|" or ";", got {mark!r}')
        for value in values:
            if mark in value or value != value.strip():
                raise self._error(
                    f"{value!r} is no item: an item has no separator ({mark!r}) in it, and no "
                    "white space around it; choose another separator or rename the item"
                )
        self._set("minimum", 0)

    def _of_hierarchy(self, read: Callable[[], Read]) -> Read:
        """Returns what is read from the hierarchy; an error of it names the column."""
        try:
            return read()
        except SchemaError as error:
            raise self._error(str(error)) from None

    def _check_number(self) -> None:
        if self.values:
            raise self._error(f"values belong to kind 'category', not to {self.kind!r}")
        for key in ("other", "hierarchy", "parent"):
            if getattr(self, key):
                raise self._error(f"{key} belongs to kind 'category', not to {self.kind!r}")
        if self.scale not in SCALES:
            raise self._error(f"scale is {self.scale!r}; choose one of {', '.join(SCALES)}")
        if self.kind == "datetime" and self.scale == "log":
            raise self._error("a datetime has no log scale; remove it")
        if not isinstance(self.special, (list, tuple)):
            raise self._error(f"special must be a list, such as [0], got {self.special!r}")
        if self.open:
            self._check_open()
            return
        if self.minimum is None or self.maximum is None:
            raise self._error(
                f"kind {self.kind!r} needs min and max, from the documentation; where there is "
                'none, bounds = "private" has a study of kind "schema" learn them'
            )
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
        self._check_edges()

    def _check_open(self) -> None:
        if (self.minimum, self.maximum, self.bins) != (None, None, None) or self.edges:
            raise self._error(
                'bounds = "private" stands in place of min, max, bins and edges; remove those'
            )
        if self.special:
            raise self._error(
                'bounds = "private" and special do not go together; special values are added to '
                "the completed schema"
            )

    def _check_edges(self) -> None:
        if not isinstance(self.edges, (list, tuple)):
            raise self._error(f"edges must be a list, such as [18, 65], got {self.edges!r}")
        if not self.edges:
            return
        if self.kind == "datetime":
            raise self._error("edges are for integers and reals; give a datetime bins")
        if self.bins is not None or self.scale != "auto":
            raise self._error("edges stand in place of bins and scale; keep one of the two")
        edges = tuple(self._bound("edges", value) for value in self.edges)
        path = [self.minimum, *edges, self.maximum]
        if self.kind == "integer":
            path[-1] += 1  # type: ignore[operator]
        if (
            len(edges) >= MAX_BINS
            or any(
                not one < other  # type: ignore[operator]
                for one, other in zip(path, path[1:], strict=False)
            )
        ):
            raise self._error(
                f"edges must increase strictly within min and max, fewer than {MAX_BINS} of them"
            )
        self._set("edges", edges)

    def _bound(self, key: str, value: object) -> Bound:
        if self.kind == "datetime":
            return self._time_bound(key, value)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self._error(f"{key} must be a number, got {value!r}")
        if not math.isfinite(value) or abs(value) > _MAX_EXACT and self.kind == "integer":
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


def _plain(value: Bound | None) -> int | float | str | None:
    return value.isoformat() if isinstance(value, dt.date) else value


def _at_midnight(value: Bound) -> Bound:
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        return dt.datetime(value.year, value.month, value.day)
    return value
