"""Public hierarchies of codes: chapters and blocks of diagnoses, groups of occupations.

A hierarchy is a table of codes and their parents, from a document such as ICD or ISCO, never from
records. It joins the values of a category column level by level, so that rare codes can be counted
together. A value that is itself a parent stands beside the codes below it.

    [[column]]
    name = "diagnosis"
    kind = "category"
    hierarchy = "icd9.csv"   # beside the schema, with columns code and parent; or the pairs:
    hierarchy = [["250", "endocrine"], ["251", "endocrine"], ["401", "circulatory"]]

A code may be named as its own parent, as files do that list the tops of a hierarchy too: such a
pair says that the code exists, and nothing stands above it.

A level is left out if it has more than half as many nodes as the finer level, or one node alone:
each level that is counted takes a part of the budget, and such a one tells little.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fedloom.common.errors import SchemaError
from fedloom.common.named_rows import named_rows
from fedloom.common.text import normal

__all__ = [
    "MAX_CODES",
    "Pairs",
    "ancestors",
    "checked_hierarchy",
    "code_levels",
    "leaves",
    "with_hierarchy_files",
]

MAX_CODES = 20_000
"""Pairs of code and parent that a column's hierarchy may have."""
_MAX_DEPTH = 8
_MAX_BYTES = 1 << 22
_HEADER = ("code", "parent")

Pairs = tuple[tuple[str, str], ...]


def with_hierarchy_files(data: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Replaces the file's name in a column's `hierarchy` by the pairs that the file lists.

    Args:
      data: A schema, as TOML gives it.
      folder: The schema's folder; the file's path is relative to it.

    Raises:
      SchemaError: a file cannot be read, is too large or lacks a column.
    """
    entries = data.get("column")
    if not isinstance(entries, list):
        return dict(data)
    return {**data, "column": [_with_pairs(entry, folder) for entry in entries]}


def checked_hierarchy(
    pairs: object, values: Sequence[str] | None, other: str | None = None
) -> Pairs:
    """Returns a hierarchy in canonical form: sorted, and of what lies above the values alone.

    Args:
      pairs: Code and parent of each pair.
      values: The column's categories; None where they are not known yet, which keeps all pairs.
      other: The label of values that are not listed; it has no parent.

    Raises:
      SchemaError: says what is wrong; the caller names the column.
    """
    parents = _parents(pairs)
    for code in parents:
        if len(_path(parents, code)) > _MAX_DEPTH:
            raise SchemaError(f"hierarchy: {code!r} has more than {_MAX_DEPTH} levels above it")
    if other is not None and other in parents:
        raise SchemaError(
            f"hierarchy gives {other!r} a parent, but it is the label of what is not listed; "
            "remove the pair"
        )
    if values is None:
        return tuple(sorted(parents.items()))
    kept: dict[str, str] = {}
    for value in values:
        for code in (value, *reversed(_path(parents, value))):
            if code in parents:
                kept[code] = parents[code]
    if not kept:
        raise SchemaError(
            "hierarchy lists none of the values; write codes in it as they stand in values"
        )
    return tuple(sorted(kept.items()))


def leaves(pairs: object) -> tuple[str, ...]:
    """Returns the codes of a hierarchy that are nobody's parent, in its order.

    Raises:
      SchemaError: a code has two parents, or the pairs are no pairs.
    """
    listed = _listed(pairs)
    above = {parent for code, parent in listed.items() if code != parent}
    return tuple(code for code in listed if code not in above)


def ancestors(pairs: Pairs, values: Sequence[str]) -> list[tuple[str, ...]]:
    """Returns what lies above each value, the topmost first; a value may be its own node.

    >>> ancestors((("250", "e"), ("250.1", "250")), ["250", "250.1", "?"])
    [('e', '250'), ('e', '250'), ()]
    """
    parents = dict(pairs)
    above = set(parents.values())
    return [(*_path(parents, v), v) if v in above else _path(parents, v) for v in values]


def code_levels(pairs: Pairs, values: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    """Returns the levels above the values, the finest first: the node of each value, from 0.

    A value above which nothing stands at a level is a node of its own there.

    >>> code_levels((("a", "x"), ("b", "x"), ("c", "y"), ("d", "y")), ["a", "c", "b", "d"])
    ((0, 1, 0, 1),)
    """
    paths = [(*path, value) for path, value in zip(ancestors(pairs, values), values, strict=True)]
    levels: list[tuple[int, ...]] = []
    finer = len(values)
    for depth in range(max(map(len, paths), default=1) - 1, 0, -1):
        nodes: dict[tuple[str, ...], int] = {}
        level = tuple(nodes.setdefault(path[:depth], len(nodes)) for path in paths)
        if 1 < len(nodes) <= finer // 2:
            levels.append(level)
            finer = len(nodes)
    return tuple(levels)


def _parents(pairs: object) -> dict[str, str]:
    """Returns the parent of each code that has one other than itself."""
    return {code: parent for code, parent in _listed(pairs).items() if code != parent}


def _listed(pairs: object) -> dict[str, str]:
    if not isinstance(pairs, list | tuple) or not all(
        isinstance(pair, list | tuple)
        and len(pair) == len(_HEADER)
        and all(isinstance(code, str) and code.strip() and code.isprintable() for code in pair)
        for pair in pairs
    ):
        raise SchemaError(
            'hierarchy must be a CSV file\'s name or pairs of texts, such as [["250", "endocrine"]]'
        )
    if not 0 < len(pairs) <= MAX_CODES:
        raise SchemaError(
            f"hierarchy lists {len(pairs)} codes; give 1 to {MAX_CODES} that the values need"
        )
    parents: dict[str, str] = {}
    for code, parent in (map(normal, pair) for pair in pairs):
        if parents.setdefault(code, parent) != parent:
            raise SchemaError(f"hierarchy gives {code!r} two parents; keep one")
    return parents


def _path(parents: Mapping[str, str], code: str) -> tuple[str, ...]:
    """Returns the codes above a code, the topmost first."""
    path: list[str] = []
    above = parents.get(code)
    while above is not None:
        if above in path:
            raise SchemaError(f"hierarchy goes round in a circle at {code!r}; remove a pair of it")
        path.append(above)
        above = parents.get(above)
    return tuple(reversed(path))


def _with_pairs(entry: Any, folder: Path) -> Any:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("hierarchy"), str):
        return entry
    path = folder / entry["hierarchy"]
    rows = named_rows(
        path,
        what=f"the hierarchy of column '{entry.get('name')}'",
        needs="a CSV file with the columns code and parent, in UTF-8",
        most_bytes=_MAX_BYTES,
    )
    if not rows or not set(_HEADER) <= set(rows[0]):
        raise SchemaError(f"{path}: no rows, or no columns {' and '.join(_HEADER)}")
    # A code without a parent is a top of the hierarchy.
    pairs = [[row[name] or "" for name in _HEADER] for row in rows]
    return {**entry, "hierarchy": [pair for pair in pairs if pair[1].strip()]}
