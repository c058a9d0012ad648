"""The tree of what goes with what: the strongest there is, each column once, below its parent."""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as ElementTree

import networkx as nx
import numpy as np
import pytest

from fedloom.privacy.release.report.relations import Relation, relation_tree, strongest_tree


def made_up(count: int, seed: int) -> tuple[list[str], list[list[float | None]]]:
    rng = np.random.default_rng(seed)
    values = rng.uniform(0.05, 1.0, (count, count))
    values = (values + values.T) / 2
    return [f"c{number}" for number in range(count)], values.tolist()


@pytest.mark.parametrize("seed", range(5))
def test_no_other_tree_is_stronger(seed):
    names, values = made_up(9, seed)
    rows = strongest_tree(names, values, "c3")
    graph = nx.Graph()
    for a, b in itertools.combinations(range(9), 2):
        graph.add_edge(a, b, weight=values[a][b])
    best = nx.maximum_spanning_tree(graph).size(weight="weight")
    assert sum(row.strength for row in rows) == pytest.approx(best)
    assert sorted(row.name for row in rows) == names
    assert rows[0] == Relation("c3", 0, -1, 0.0)


def test_a_column_stands_below_its_parent_and_the_strongest_child_first():
    names, values = made_up(12, 7)
    rows = strongest_tree(names, values)
    for number, row in enumerate(rows[1:], start=1):
        assert row.parent < number and row.depth == rows[row.parent].depth + 1
    for parent in range(len(rows)):
        strengths = [row.strength for row in rows if row.parent == parent]
        assert strengths == sorted(strengths, reverse=True)


def test_columns_that_go_with_nothing_begin_trees_of_their_own():
    values = [[1.0, 0.5, 0.01], [0.5, 1.0, None], [0.01, None, 1.0]]
    rows = strongest_tree(["a", "b", "alone"], values, "b")
    assert [(row.name, row.depth, row.strength) for row in rows] == [
        ("b", 0, 0.0),
        ("a", 1, 0.5),
        ("alone", 0, 0.0),
    ]


def test_the_picture_is_well_formed_whatever_the_names():
    names = ["<script>", "a & b", "x" * 80, *(f"deep{number}" for number in range(30))]
    size = len(names)
    values = [[1.0 if abs(a - b) < 2 else 0.0 for b in range(size)] for a in range(size)]
    text = relation_tree(strongest_tree(names, values, names[0]), title='a "title"')
    root = ElementTree.fromstring(text)
    width = float(root.get("viewBox").split()[2])
    assert len([one for one in root if one.tag == "circle"]) == size
    assert all(float(one.get("x")) <= width for one in root if one.tag == "text")


def test_a_chain_of_many_columns_is_drawn():
    size = 1500
    names = [f"c{number}" for number in range(size)]
    values = np.zeros((size, size))
    values[np.arange(size - 1), np.arange(1, size)] = 0.5
    rows = strongest_tree(names, (values + values.T).tolist(), "c0")
    assert [row.depth for row in rows] == list(range(size))
    ElementTree.fromstring(relation_tree(rows, title="a chain"))
