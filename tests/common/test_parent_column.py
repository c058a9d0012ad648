"""A column that holds the parents of another's codes follows from them."""

from __future__ import annotations

from typing import Any

import pytest

from fedloom.common.errors import SchemaError
from fedloom.common.schema import Schema

PAIRS = [["a", "x"], ["b", "x"], ["c", "y"], ["x", "top"], ["y", "top"]]
CODE: dict[str, Any] = {
    "name": "code",
    "kind": "category",
    "values": ["a", "b", "c"],
    "hierarchy": PAIRS,
    "parent": "chapter",
}
CHAPTER: dict[str, Any] = {"name": "chapter", "kind": "category", "values": ["x", "y"]}
ROWS = [["a", "x"], ["b", "x"], ["c", "y"]]
RULE = {"kind": "fixed-combinations", "columns": ["code", "chapter"], "rows": ROWS}


def schema(
    code: dict[str, Any] = CODE, chapter: dict[str, Any] = CHAPTER, *rules: dict[str, Any]
) -> Schema:
    return Schema.from_dict({"column": [code, chapter], "constraint": list(rules)})


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in CODE.items() if name != key}


def test_the_hierarchy_gives_the_combinations_and_the_canonical_form_comes_back() -> None:
    made = schema()
    assert [rule.to_dict() for rule in made.constraints] == [RULE]
    assert Schema.from_dict(made.to_dict()) == made == schema(CODE, CHAPTER, RULE)


def test_listed_combinations_give_the_hierarchy_in_either_order_of_columns() -> None:
    turned = {**RULE, "columns": ["chapter", "code"], "rows": [row[::-1] for row in ROWS]}
    for rule in (RULE, turned):
        made = schema(without("hierarchy"), CHAPTER, rule)
        assert [list(pair) for pair in made.columns[0].hierarchy] == ROWS
        assert Schema.from_dict(made.to_dict()) == made


def test_what_is_not_listed_may_stand_under_any_parent() -> None:
    made = schema({**CODE, "other": "?"}, {**CHAPTER, "other": "else"})
    assert {row for row in made.constraints[0].rows if row[0] == "?"} == {
        ("?", "x"),
        ("?", "y"),
        ("?", "else"),
    }
    assert Schema.from_dict(made.to_dict()) == made


def test_a_code_without_a_parent_among_the_values_stands_under_their_other() -> None:
    made = schema({**CODE, "values": ["a", "b", "c", "d"]}, {**CHAPTER, "other": "else"})
    assert ("d", "else") in made.constraints[0].rows


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (({**CODE, "parent": "nowhere"},), "must name another category"),
        (({**CODE, "parent": "code"},), "must name another category"),
        (({**CODE, "parent": 3},), "column's name in quotes"),
        ((CODE, {"name": "chapter", "kind": "integer", "min": 0, "max": 3}), "another category"),
        ((CODE, {**CHAPTER, "values": "private"}), "needs the values of both"),
        (({**CODE, "values": ["a", "b", "c", "d"]},), "nothing above 'd'"),
        ((without("hierarchy"),), "needs a hierarchy"),
        ((CODE, CHAPTER, {**RULE, "rows": [*ROWS[:2], ["c", "x"]]}), "differ"),
        ((CODE, CHAPTER, {**RULE, "rows": ROWS[:2]}), "differ"),
        ((CODE, CHAPTER, {**RULE, "rows": [*ROWS, ["c", "x"]]}), "two parents"),
    ],
)
def test_a_parent_that_does_not_follow_is_refused(parts: tuple[Any, ...], message: str) -> None:
    with pytest.raises(SchemaError, match=rf"column 'code': .*{message}"):
        schema(*parts)
