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


UNKNOWN_ROWS = [*ROWS, ["unknown", "unknown"]]
WITH_UNKNOWN = (
    {**CODE, "values": ["a", "b", "c", "unknown"]},
    {**CHAPTER, "values": ["x", "y", "unknown"]},
)


@pytest.mark.parametrize("pairs", [PAIRS, [*PAIRS, ["unknown", "unknown"]]])
def test_a_value_that_both_columns_hold_is_its_own_parent(pairs: list[list[str]]) -> None:
    code, chapter = WITH_UNKNOWN
    made = schema({**code, "hierarchy": pairs}, chapter)
    assert [list(row) for row in made.constraints[0].rows] == UNKNOWN_ROWS
    assert made == schema(*WITH_UNKNOWN) == Schema.from_dict(made.to_dict())


def test_listed_combinations_may_give_a_code_itself_as_parent() -> None:
    code, chapter = WITH_UNKNOWN
    listed = {name: value for name, value in code.items() if name != "hierarchy"}
    made = schema(listed, chapter, {**RULE, "rows": UNKNOWN_ROWS})
    assert [list(pair) for pair in made.columns[0].hierarchy] == ROWS
    assert Schema.from_dict(made.to_dict()) == made
    twins = [{**one, "values": ["x", "y"]} for one in (listed, chapter)]
    same = schema(*twins, {**RULE, "rows": [["x", "x"], ["y", "y"]]})
    assert same.columns[0].hierarchy == () and Schema.from_dict(same.to_dict()) == same


def test_a_pair_goes_before_the_name_that_a_code_shares_with_a_parent() -> None:
    made = schema(
        {**CODE, "hierarchy": [*PAIRS[:2], ["c", "else"]]},
        {**CHAPTER, "values": ["x", "c"], "other": "else"},
    )
    assert ("c", "else") in made.constraints[0].rows


def test_listed_rows_are_compared_in_normal_form() -> None:
    code, chapter = "B\u00e4r", "K\u00f6rper"
    rows = [["Ba\u0308r", "Ko\u0308rper"], *ROWS]
    made = schema(
        {**CODE, "values": [code, "a", "b", "c"], "hierarchy": [[code, chapter], *ROWS]},
        {**CHAPTER, "values": [chapter, "x", "y"]},
        {**RULE, "rows": rows},
    )
    assert (code, chapter) in made.constraints[0].rows


BLOCK = {"name": "block", "kind": "category", "values": ["x", "y"], "parent": "chapter"}
TOP = {"name": "chapter", "kind": "category", "values": ["low", "high"]}
CHAIN = [["low", "a", "x"], ["low", "b", "x"], ["high", "c", "y"]]


def chain(rows: list[list[str]], **block: Any) -> Schema:
    rule = {"kind": "fixed-combinations", "columns": ["chapter", "code", "block"], "rows": rows}
    code = {**without("hierarchy"), "parent": "block"}
    columns = [code, {**BLOCK, **block}, TOP]
    return Schema.from_dict({"column": columns, "constraint": [rule] if rows else []})


def test_one_list_of_three_columns_gives_a_chain_of_parents_or_two_codes_of_one() -> None:
    made = chain(CHAIN)
    assert [dict(column.hierarchy) for column in made.columns[:2]] == [
        {"a": "x", "b": "x", "c": "y"},
        {"x": "low", "y": "high"},
    ]
    assert len(made.constraints) == 1 and Schema.from_dict(made.to_dict()) == made
    code = {**without("hierarchy"), "parent": "chapter"}
    rule = {"kind": "fixed-combinations", "columns": ["chapter", "code", "block"], "rows": CHAIN}
    both = Schema.from_dict({"column": [code, BLOCK, TOP], "constraint": [rule]})
    assert dict(both.columns[0].hierarchy) == {"a": "low", "b": "low", "c": "high"}


def test_a_chain_without_its_list_or_with_two_parents_in_it_is_refused() -> None:
    with pytest.raises(SchemaError, match="column 'block': .*two parents"):
        chain([*CHAIN[:2], ["high", "a", "x"], CHAIN[2]])
    hierarchies = [
        {**CODE, "parent": "block"},
        {**BLOCK, "hierarchy": [["x", "low"], ["y", "high"]]},
    ]
    with pytest.raises(SchemaError, match="one list of combinations"):
        Schema.from_dict({"column": [*hierarchies, TOP]})


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
        ((CODE, CHAPTER, {**RULE, "rows": [*ROWS[:2], ["c", "x"]]}), "differ in 'c'"),
        ((CODE, CHAPTER, {**RULE, "rows": ROWS[:2]}), "differ in 'c'"),
        ((CODE, CHAPTER, {**RULE, "rows": [*ROWS, ["c", "x"]]}), "two parents"),
    ],
)
def test_a_parent_that_does_not_follow_is_refused(parts: tuple[Any, ...], message: str) -> None:
    with pytest.raises(SchemaError, match=rf"column 'code': .*{message}"):
        schema(*parts)
