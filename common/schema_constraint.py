"""Constraints between columns: what holds in every record, by the documentation of the data.

    [[constraint]]
    kind = "order"                     # values do not fall from one column to the next
    columns = ["admitted", "discharged"]
    strict = true                      # optional: they rise
    [[constraint]]
    kind = "fixed-combinations"        # only these combinations of values occur
    columns = ["state", "city"]
    rows = [["NY", "Albany"], ["MA", "Boston"]]   # or file = "cities.csv", beside the schema

A constraint holds in a record in which any of its columns is missing. A special value of a numeric
column stands for its number. Constraints are public, part of the schema and its digest, and kept
in every synthetic record; each is checked here so that there is always a record that keeps all.
"""

from __future__ import annotations

import datetime as dt
import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedloom.common.errors import SchemaError
from fedloom.common.named_rows import named_rows
from fedloom.common.text import as_text, normal

if TYPE_CHECKING:
    from fedloom.common.column import Bound, Column

__all__ = [
    "Constraint",
    "checked_constraints",
    "constraints_from",
    "in_topological_order",
    "with_listed_files",
]

_KEYS = {"order": {"strict"}, "fixed-combinations": {"rows", "file"}}


@dataclass(frozen=True, slots=True)
class Constraint:
    """One constraint; `checked_constraints` brings it into canonical form.

    Attributes:
      kind: `order` or `fixed-combinations`.
      columns: Names of at least two columns.
      strict: Whether values of an order rise from column to column, not only never fall.
      rows: The combinations that occur: text for categories, whole numbers for integers; sorted.
    """

    kind: str
    columns: tuple[str, ...]
    strict: bool = False
    rows: tuple[tuple[str | int, ...], ...] = ()

    def __post_init__(self) -> None:
        """Brings the names into normal form."""
        object.__setattr__(self, "columns", tuple(as_text(name) for name in self.columns))

    @property
    def name(self) -> str:
        """What the constraint says, for people.

        >>> Constraint("order", ("admitted", "discharged"), strict=True).name
        'admitted < discharged'
        """
        if self.kind == "order":
            return (" < " if self.strict else " <= ").join(self.columns)
        return "combinations of " + ", ".join(self.columns)

    def to_dict(self) -> dict[str, Any]:
        """Returns the constraint as in TOML, JSON-able, with nothing that equals its default."""
        plain: dict[str, Any] = {"kind": self.kind, "columns": list(self.columns)}
        if self.strict:
            plain["strict"] = True
        if self.rows:
            plain["rows"] = [list(row) for row in self.rows]
        return plain


def constraints_from(entries: object) -> tuple[Constraint, ...]:
    """Reads the `[[constraint]]` tables of a schema.

    Raises:
      SchemaError: a key is unknown or missing, or a value is of another type.
    """
    if not isinstance(entries, list) or not all(isinstance(e, Mapping) for e in entries):
        raise SchemaError("constraints must be written as [[constraint]], with double brackets")
    return tuple(_constraint(entry, number) for number, entry in enumerate(entries, 1))


def with_listed_files(data: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Replaces `file` of fixed combinations by the rows of the CSV file that it names.

    Args:
      data: A schema, as TOML gives it.
      folder: The schema's folder; the file's path is relative to it.

    Raises:
      SchemaError: a file cannot be read or lacks a column.
    """
    entries = data.get("constraint")
    if not isinstance(entries, list):
        return dict(data)
    return {**data, "constraint": [_with_rows(entry, folder) for entry in entries]}


def checked_constraints(
    constraints: Iterable[Constraint], columns: Sequence[Column]
) -> tuple[Constraint, ...]:
    """Returns the constraints in canonical form.

    Raises:
      SchemaError: a constraint names an unknown column or one of the wrong kind, shares columns
        with another so that they could not be kept together, or cannot be met.
    """
    by_name = {column.name: column for column in columns}
    checked = []
    for constraint in constraints:
        for name in constraint.columns:
            if name not in by_name:
                close = difflib.get_close_matches(name, by_name, n=1)
                hint = f"; did you mean '{close[0]}'?" if close else ""
                raise _error(constraint, f"no column '{name}' in the schema{hint}")
        members = [by_name[name] for name in constraint.columns]
        check = _check_order if constraint.kind == "order" else _check_combinations
        checked.append(check(constraint, members))
    _check_apart(checked)
    _check_orders_together([c for c in checked if c.kind == "order"], by_name)
    return tuple(checked)


def in_topological_order(orders: Iterable[Constraint]) -> tuple[str, ...]:
    """Returns the columns of `order` constraints so that each comes after those below it.

    Raises:
      SchemaError: they go round in a circle.
    """
    below: dict[str, set[str]] = {}
    for order in orders:
        for name, after in zip((None, *order.columns), order.columns, strict=False):
            below.setdefault(after, set()).update([name] if name else [])
    placed: list[str] = []
    while len(placed) < len(below):
        free = [name for name in below if name not in placed and below[name] <= set(placed)]
        if not free:
            circle = sorted(set(below) - set(placed))
            raise SchemaError(
                f"order constraints go round in a circle ({', '.join(circle)}); remove one of them"
            )
        placed += free
    return tuple(placed)


def _constraint(entry: Mapping[str, Any], number: int) -> Constraint:
    kind, columns = entry.get("kind"), entry.get("columns")
    if kind not in _KEYS:
        raise SchemaError(
            f"constraint number {number}: kind is {kind!r}; choose one of {', '.join(_KEYS)}"
        )
    unknown = sorted(set(entry) - _KEYS[kind] - {"kind", "columns"})
    if unknown:
        known = ", ".join(sorted({"kind", "columns", *_KEYS[kind]}))
        raise SchemaError(f"constraint number {number}: unknown key '{unknown[0]}'; known: {known}")
    if (
        not isinstance(columns, list | tuple)
        or not all(isinstance(name, str) for name in columns)
        or len(columns) < 2
        or len({normal(name) for name in columns}) < len(columns)
    ):
        raise SchemaError(
            f"constraint number {number}: columns must list two columns or more, each once, such "
            f'as ["admitted", "discharged"]; got {columns!r}'
        )
    strict, rows = entry.get("strict", False), entry.get("rows", [])
    constraint = Constraint(kind, tuple(columns), strict=strict)
    if not isinstance(strict, bool):
        raise _error(constraint, f"strict must be true or false, got {strict!r}")
    if "file" in entry:
        raise _error(constraint, "file is read with a schema's file alone; give rows here")
    if kind == "fixed-combinations" and not (
        isinstance(rows, list | tuple)
        and rows
        and all(isinstance(row, list | tuple) and len(row) == len(columns) for row in rows)
    ):
        raise _error(
            constraint, f"rows must list combinations of {len(columns)} values, in brackets"
        )
    return replace(constraint, rows=tuple(tuple(row) for row in rows))


def _with_rows(entry: Any, folder: Path) -> Any:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("file"), str):
        return entry
    path, columns = folder / entry["file"], list(map(as_text, entry.get("columns", [])))
    if "rows" in entry:
        raise SchemaError(f"a constraint gives both rows and file = '{path}'; keep one of the two")
    rows = named_rows(
        path,
        what="the combinations of a constraint",
        needs="a CSV file with a header, in UTF-8",
    )
    for name in columns:
        if not rows or name not in rows[0]:
            raise SchemaError(
                f"{path}: no column '{name}', or no rows; the header names the constraint's columns"
            )
    kept = {key: value for key, value in entry.items() if key != "file"}
    return {**kept, "rows": [[row[name] for name in columns] for row in rows]}


def _check_order(constraint: Constraint, members: list[Column]) -> Constraint:
    kinds = {column.kind for column in members}
    if kinds & {"category", "set"} or "datetime" in kinds and kinds != {"datetime"}:
        raise _error(
            constraint, "an order is among numbers, or among times; leave other columns out"
        )
    if len({column.dates_only for column in members}) > 1:
        raise _error(
            constraint, "dates and times of day do not compare; give all of them as one or other"
        )
    return constraint


def _check_combinations(constraint: Constraint, members: list[Column]) -> Constraint:
    for column in members:
        if column.kind not in ("category", "integer"):
            raise _error(
                constraint,
                f"column '{column.name}' is of kind '{column.kind}'; combinations are of "
                "categories and integers",
            )
        if column.open:
            what = "values" if column.kind == "category" else "bounds"
            raise _error(
                constraint, f"'{column.name}' is open; combinations need its {what} beforehand"
            )
    known = [{value: i for i, value in enumerate(_categories(column))} for column in members]
    rows = {
        tuple(
            _canonical(constraint, column, places, value)
            for column, places, value in zip(members, known, row, strict=True)
        )
        for row in constraint.rows
    }

    def rank(row: tuple[str | int, ...]) -> tuple[int, ...]:
        return tuple(
            value if isinstance(value, int) else places[value]
            for value, places in zip(row, known, strict=True)
        )

    return replace(constraint, rows=tuple(sorted(rows, key=rank)))


def _canonical(
    constraint: Constraint, column: Column, known: Mapping[str, int], value: object
) -> str | int:
    if column.kind == "category":
        text = normal(str(value))
        if text in known:
            return text
        listed = ", ".join(list(known)[:10])
        raise _error(constraint, f"'{column.name}' has no value {text!r}; it has {listed}")
    try:
        number = int(str(value))
    except ValueError:
        raise _error(constraint, f"'{column.name}' needs whole numbers, got {value!r}") from None
    low, high = column.minimum, column.maximum
    if number not in column.special and not low <= number <= high:  # type: ignore[operator]
        raise _error(
            constraint, f"'{column.name}' = {number} lies outside {low} to {high}, its bounds"
        )
    return number


def _categories(column: Column) -> tuple[str, ...]:
    return (*column.values, *([] if column.other is None else [column.other]))


def _check_apart(constraints: list[Constraint]) -> None:
    for constraint in constraints:
        if constraint.kind == "order":
            continue
        for other in constraints:
            shared = set(constraint.columns) & set(other.columns)
            if other is not constraint and shared:
                raise _error(
                    constraint,
                    f"column '{sorted(shared)[0]}' is in another constraint too; put both into one "
                    "list of combinations",
                )


def _check_orders_together(orders: list[Constraint], by_name: Mapping[str, Column]) -> None:
    """Puts every column at its smallest possible value, from below: some record must fit."""
    smallest: dict[str, Bound] = {}
    for name in in_topological_order(orders):
        column = by_name[name]
        if column.minimum is None or column.maximum is None:
            return  # its bounds are not known yet
        floors = [
            (smallest[below], order.strict)
            for order in orders
            for below, above in zip(order.columns, order.columns[1:], strict=False)
            if above == name
        ]
        found = _smallest(column, floors)
        if found is None:
            wrong = next(order for order in orders if name in order.columns)
            raise _error(wrong, f"'{name}' cannot be that large; correct its bounds or the order")
        smallest[name] = found


def _smallest(column: Column, floors: list[tuple[Any, bool]]) -> Bound | None:
    candidates: list[Any] = [*column.special, column.minimum]
    for floor, strict in floors:
        candidates.append(_next(column, floor) if strict else floor)
    if column.kind == "integer":
        candidates = [math.ceil(value) for value in candidates]
    low, high = column.minimum, column.maximum
    fitting = [
        value
        for value in candidates
        if (low <= value <= high or value in column.special)
        and all(value > floor if strict else value >= floor for floor, strict in floors)
    ]
    return min(fitting, default=None)


def _next(column: Column, value: Any) -> Any:
    if column.kind == "datetime":
        return value + (dt.timedelta(days=1) if column.dates_only else dt.timedelta(seconds=1))
    if column.kind == "real":
        return math.nextafter(value, math.inf)
    return math.floor(value) + 1


def _error(constraint: Constraint, message: str) -> SchemaError:
    return SchemaError(f"constraint '{constraint.name}': {message}")
