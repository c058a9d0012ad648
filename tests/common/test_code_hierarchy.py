"""Hierarchies of codes: what they hold, what they refuse, and the levels that they make."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedloom.common.code_hierarchy import ancestors, code_levels, leaves
from fedloom.common.column_marginals import ColumnMarginals
from fedloom.common.encoding import Encoding
from fedloom.common.errors import SchemaError
from fedloom.common.schema import Schema
from fedloom.common.schema_text import schema_text

PAIRS = [["a", "x"], ["b", "x"], ["c", "y"], ["d", "y"]]
CODE: dict[str, Any] = {"name": "code", "kind": "category", "hierarchy": PAIRS}
LABEL = {"name": "t", "kind": "category", "values": ["0", "1"]}


def schema(**changes: Any) -> Schema:
    return Schema.from_dict({"column": [{**CODE, **changes}, LABEL]})


def test_values_are_the_leaves_where_none_are_listed() -> None:
    assert schema().columns[0].values == ("a", "b", "c", "d") == leaves(PAIRS)


def test_canonical_form_comes_back_from_its_file_and_tells_hierarchies_apart(
    tmp_path: Path,
) -> None:
    one = schema(other="else", nullable=True)
    assert Schema.from_dict(one.to_dict()) == one
    (tmp_path / "schema.toml").write_text(schema_text(one), encoding="utf-8")
    assert Schema.load(tmp_path / "schema.toml").digest() == one.digest()
    moved = schema(other="else", nullable=True, hierarchy=[["a", "y"], *PAIRS[1:]])
    assert moved.digest() != one.digest()
    turned = schema(other="else", nullable=True, values=list("abcd"), hierarchy=PAIRS[::-1])
    assert turned.digest() == one.digest()


def test_a_file_gives_the_pairs_and_its_digest_is_that_of_the_pairs(tmp_path: Path) -> None:
    rows = ["parent,title,code", *(f"{parent},,{code}" for code, parent in PAIRS), ",top,x"]
    (tmp_path / "codes.csv").write_text("\n".join(rows), encoding="utf-8-sig")
    text = schema_text(schema(values=list("abcd")))
    (tmp_path / "schema.toml").write_text(
        "\n".join(
            'hierarchy = "codes.csv"' if line.startswith("hierarchy") else line
            for line in text.splitlines()
        ),
        encoding="utf-8",
    )
    assert Schema.load(tmp_path / "schema.toml").digest() == schema().digest()


@pytest.mark.parametrize("text", ["code,above\na,x\n", "", "code\na\n", "code,parent\na\n"])
def test_a_file_without_pairs_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "codes.csv").write_text(text, encoding="utf-8")
    (tmp_path / "schema.toml").write_text(
        '[[column]]\nname = "code"\nkind = "category"\nhierarchy = "codes.csv"\n'
        '[[column]]\nname = "t"\nkind = "category"\nvalues = ["0", "1"]\n',
        encoding="utf-8",
    )
    with pytest.raises(SchemaError, match="schema.toml"):
        Schema.load(tmp_path / "schema.toml")


def test_what_lies_above_no_value_is_left_out() -> None:
    wide = [*PAIRS, ["x", "top"], ["y", "top"], ["e", "z"]]
    assert schema(values=list("abcd"), hierarchy=wide) == schema(
        values=list("abcd"), hierarchy=wide[:-1]
    )


def test_an_open_column_keeps_the_whole_table() -> None:
    column = schema(values="private").columns[0]
    assert column.open and [list(pair) for pair in column.hierarchy] == PAIRS


def test_a_code_that_is_its_own_parent_is_a_value_above_which_nothing_stands() -> None:
    made = schema(hierarchy=[["unknown", "unknown"], ["x", "x"], *PAIRS]).columns[0]
    assert made.values == ("unknown", "a", "b", "c", "d")
    assert [list(pair) for pair in made.hierarchy] == PAIRS
    assert code_levels(made.hierarchy, made.values) == ()
    assert ancestors(made.hierarchy, made.values)[0] == ()
    assert Schema.from_dict({"column": [made.to_dict(), LABEL]}).columns[0] == made


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hierarchy": [["a", "x"], ["a", "y"], ["b", "x"]]}, "two parents"),
        ({"hierarchy": [["a", "b"], ["b", "a"]], "values": ["a", "b"]}, "circle"),
        ({"hierarchy": [["a", "a"]], "values": ["a", "b"]}, "none of the values"),
        ({"hierarchy": [["a", "a"], ["a", "x"], ["b", "x"]]}, "two parents"),
        ({"hierarchy": [["e", "x"]], "values": ["a", "b"]}, "none of the values"),
        ({"hierarchy": [[f"{i}", f"{i + 1}"] for i in range(9)], "values": ["0", "1"]}, "levels"),
        ({"hierarchy": [["a", 1]], "values": ["a", "b"]}, "pairs of texts"),
        ({"hierarchy": ["ax"], "values": ["a", "b"]}, "pairs of texts"),
        ({"hierarchy": [[str(i), "x"] for i in range(20_001)]}, "20001 codes"),
        ({"other": "a", "values": ["b", "c"]}, "is the label"),
        ({"kind": "integer", "min": 0, "max": 3}, "hierarchy belongs"),
    ],
)
def test_a_hierarchy_that_contradicts_itself_is_refused(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(SchemaError, match=rf"column 'code': .*{message}"):
        schema(**changes)


def test_a_value_that_is_a_parent_stands_beside_the_codes_below_it() -> None:
    pairs = (("250", "e"), ("250.1", "250"), ("250.2", "250"), ("9", "i"), ("8", "i"))
    values = ["250", "250.1", "250.2", "9", "8", "?"]
    assert ancestors(pairs, values)[:2] == [("e", "250"), ("e", "250")]
    assert code_levels(pairs, values) == ((0, 0, 0, 1, 1, 2),)


trees = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=40)


def column_of(paths: Sequence[tuple[int, int]]) -> dict[str, Any]:
    pairs = {(f"v{i}", f"b{a}{b}") for i, (a, b) in enumerate(paths) if b}
    pairs |= {(f"b{a}{b}", f"c{a}") for a, b in paths if b}
    values = [f"v{i}" for i in range(len(paths))]
    return {"name": "code", "kind": "category", "values": values, "hierarchy": sorted(pairs)}


@given(trees.filter(lambda paths: any(b for _, b in paths)))
def test_levels_nest_and_each_halves_the_nodes(paths: list[tuple[int, int]]) -> None:
    column = Schema.from_dict({"column": [column_of(paths), LABEL]}).columns[0]
    levels = code_levels(column.hierarchy, column.values)
    finer = tuple(range(len(column.values)))
    for level in levels:
        assert set(level) == set(range(max(level) + 1))
        assert len(set(zip(finer, level, strict=True))) == len(set(finer))
        assert 1 < len(set(level)) <= len(set(finer)) // 2
        finer = level


@given(trees.filter(lambda paths: any(b for _, b in paths)), st.integers(0, 2**31))
def test_any_record_adds_one_to_its_node_of_each_level_and_no_more_than_the_norm(
    paths: list[tuple[int, int]], seed: int
) -> None:
    entry = {**column_of(paths), "nullable": True}
    encoding = Encoding(Schema.from_dict({"column": [entry, LABEL]}), "t")
    measured, block = ColumnMarginals(encoding), encoding.features[0]
    code = int(np.random.default_rng(seed).integers(block.size))
    added = measured.sum(np.array([[code]]), np.array([1]))
    assert set(np.unique(added)) <= {0, 1}
    listed = code < block.num_bins
    assert added.sum() == 2 + len(block.levels) * listed <= round(measured.l2_norm**2)
    assert round(measured.l2_norm**2) == 2 + len(block.levels)
    for nodes, counts in zip(block.levels, measured.levels(added, 0)[1:], strict=True):
        assert counts.sum() == listed and (not listed or counts[nodes[code]] == 1)
