"""A column that holds the parents of another one's codes, such as the chapter beside a diagnosis.

    [[column]]
    name = "diagnosis"
    kind = "category"
    hierarchy = "icd9.csv"
    parent = "chapter"     # the column that holds, of every code, one of the nodes above it

The code then determines the parent in synthetic records: the schema gets a constraint of fixed
combinations for the two. Where a constraint that holds both is listed already, the hierarchy may be
left out, for it says which parent each code has. Either way it is public, never read from records.
A constraint does not bind a record in which one of its columns is missing, nor a code that is the
label of what is not listed. A code above which nothing stands, but that is a value of the other
column itself, is its own parent there.

No column can be in two constraints. So a chain (code, block, chapter) and two columns with one
parent column need their combinations listed, all of the three columns in one constraint.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from fedloom.common.code_hierarchy import Pairs, ancestors
from fedloom.common.column import Column
from fedloom.common.errors import SchemaError
from fedloom.common.schema_constraint import Constraint
from fedloom.common.text import normal

__all__ = ["with_parent_columns"]


def with_parent_columns(
    columns: Sequence[Column], constraints: Sequence[Constraint]
) -> tuple[tuple[Column, ...], tuple[Constraint, ...]]:
    """Returns columns and constraints with what `parent` says of both.

    Args:
      columns: All columns of a schema.
      constraints: Those that it lists.

    Raises:
      SchemaError: a parent is no listed category, or hierarchy and combinations contradict each
        other or say nothing of a code.
    """
    by_name = {column.name: column for column in columns}
    found, rules = [], list(constraints)
    for column in columns:
        if column.parent is None:
            found.append(column)
            continue
        above = _above(column, by_name)
        listed = [
            rule
            for rule in rules
            if rule.kind == "fixed-combinations" and {column.name, above.name} <= set(rule.columns)
        ]
        told = _parents_of_rows(column, above, listed[0]) if listed else {}
        if not column.hierarchy:
            pairs: Pairs = tuple((code, parent) for code, parent in told.items() if code != parent)
            column = replace(column, hierarchy=pairs) if pairs else column
        if not column.hierarchy and not told:
            raise _error(
                column,
                f"parent = '{above.name}' needs a hierarchy, or a constraint of "
                "fixed-combinations that lists the two columns",
            )
        known = _parents_of_hierarchy(column, above)
        if not listed:
            rules.append(_rule(column, above, known))
        elif told != known:
            code = min(dict(told.items() ^ known.items()))
            raise _error(
                column,
                f"hierarchy and the listed combinations with '{above.name}' differ in {code!r}; "
                "add or correct its row, or the pair of it",
            )
        found.append(column)
    return tuple(found), tuple(rules)


def _above(column: Column, by_name: Mapping[str, Column]) -> Column:
    above = by_name.get(column.parent or "")
    if above is None or above is column or above.kind != "category":
        raise _error(column, f"parent = '{column.parent}' must name another category column")
    if above.open or column.open:
        raise _error(column, f"parent = '{above.name}' needs the values of both columns")
    return above


def _parents_of_rows(column: Column, above: Column, rule: Constraint) -> dict[str, str]:
    places = [rule.columns.index(member.name) for member in (column, above)]
    told: dict[str, str] = {}
    for row in rule.rows:
        code, parent = (normal(str(row[place])) for place in places)
        if code != column.other and told.setdefault(code, parent) != parent:
            raise _error(column, f"the listed combinations give {code!r} two parents; keep one")
    return told


def _parents_of_hierarchy(column: Column, above: Column) -> dict[str, str]:
    """Returns each value's parent in the other column.

    That is the lowest node above it that the column holds, else the value itself if the column
    holds that, else the column's `other`.
    """
    held, known = set(above.values), {}
    paths = ancestors(column.hierarchy, column.values)
    for value, path in zip(column.values, paths, strict=True):
        nodes = [node for node in path if node in held]
        if not nodes and value in held and above.other not in path:
            nodes = [value]
        if not nodes and above.other is None:
            raise _error(
                column,
                f"nothing above {value!r} is a value of '{above.name}'; add it there, or give "
                "that column an other",
            )
        known[value] = nodes[-1] if nodes else str(above.other)
    return known


def _rule(column: Column, above: Column, known: Mapping[str, str]) -> Constraint:
    rows = list(known.items())
    if column.other is not None:  # a code that is not listed may stand under any parent
        every = [*above.values, *([] if above.other is None else [above.other])]
        rows += [(column.other, parent) for parent in every]
    return Constraint("fixed-combinations", (column.name, above.name), rows=tuple(rows))


def _error(column: Column, message: str) -> SchemaError:
    return SchemaError(f"column '{column.name}': {message}")
