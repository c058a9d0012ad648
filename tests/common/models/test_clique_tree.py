"""A clique tree against the whole joint table, cell by cell."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from fedloom.common.models.cell_tables import CellTables
from fedloom.common.models.clique_tree import CliqueTree, stratified

SIZES = (2, 3, 4, 2, 3)
TREE = CliqueTree(SIZES, ((0, 1, 2), (1, 2, 3), (2, 4)), (-1, 0, 1))


def potentials(seed: int = 1) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.gamma(0.5, size=shape) for shape in TREE.shapes]


def joint(tables: list[np.ndarray]) -> np.ndarray:
    """The product of all tables over the whole domain: what the tree must never need."""
    product = np.ones(SIZES)
    for clique, table in zip(TREE.cliques, tables, strict=True):
        shape = [SIZES[c] if c in clique else 1 for c in range(len(SIZES))]
        product = product * table.reshape(shape)
    return product


def summed(product: np.ndarray, columns: tuple[int, ...]) -> np.ndarray:
    return product.sum(axis=tuple(c for c in range(len(SIZES)) if c not in columns))


def test_marginals_and_total_are_those_of_the_joint_table():
    whole = joint(potentials())
    found, log_total = TREE.calibrate(potentials())
    assert log_total == pytest.approx(np.log(whole.sum()))
    for clique, table in zip(TREE.cliques, found, strict=True):
        np.testing.assert_allclose(table, summed(whole, clique) / whole.sum(), rtol=1e-10)


def test_columns_and_pairs_are_those_of_the_joint_table():
    whole = joint(potentials())
    singles, pairs = TREE.margins(TREE.calibrate(potentials())[0])
    for column, table in enumerate(singles):
        np.testing.assert_allclose(table, summed(whole, (column,)) / whole.sum(), rtol=1e-10)
    assert len(pairs) == len(TREE.pairs)
    for pair, table in zip(TREE.pairs, pairs, strict=True):
        np.testing.assert_allclose(table, summed(whole, pair) / whole.sum(), rtol=1e-10)


def test_columns_that_stand_alone_are_their_own_margins():
    tree = CliqueTree((2, 3), ((0,), (1,)), (-1, 0))
    singles, pairs = tree.margins(tree.calibrate([np.array([1.0, 3.0]), np.ones(3)])[0])
    assert pairs == [] and singles[0].tolist() == [0.25, 0.75]
    assert singles[1] == pytest.approx(np.full(3, 1 / 3))


def test_a_group_that_is_ruled_out_has_no_chance_anywhere():
    tables = potentials()
    tables[2][1] = 0.0
    whole = joint(tables)
    found, log_total = TREE.calibrate([table.copy() for table in tables])
    assert log_total == pytest.approx(np.log(whole.sum()))
    np.testing.assert_allclose(found[0], summed(whole, (0, 1, 2)) / whole.sum(), atol=1e-12)
    assert found[0][:, :, 1].sum() == 0.0


def test_what_rules_out_everything_has_no_total():
    tables = potentials()
    tables[1][:] = 0.0
    assert TREE.calibrate(tables)[1] == -np.inf


def test_draws_have_the_joint_frequencies():
    """Pearson's statistic is below its independent law: draws are systematic; 1e-6 for chance."""
    whole = joint(potentials()) / joint(potentials()).sum()
    codes = TREE.draw(TREE.calibrate(potentials())[0], 200_000, np.random.default_rng(3))
    counts = np.zeros(SIZES)
    np.add.at(counts, tuple(codes), 1)
    expected = whole * codes.shape[1]
    kept = expected > 1
    statistic = ((counts - expected)[kept] ** 2 / expected[kept]).sum()
    assert statistic < chi2.isf(1e-6, kept.sum())


def test_draws_of_another_tree_are_caught():
    codes = TREE.draw(TREE.calibrate(potentials(2))[0], 200_000, np.random.default_rng(3))
    counts = np.zeros(SIZES)
    np.add.at(counts, tuple(codes), 1)
    expected = joint(potentials()) / joint(potentials()).sum() * codes.shape[1]
    kept = expected > 1
    statistic = ((counts - expected)[kept] ** 2 / expected[kept]).sum()
    assert statistic > chi2.isf(1e-6, kept.sum())


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(0.0, 1.0), min_size=2, max_size=6).filter(lambda c: sum(c) > 0.1),
    st.integers(1, 300),
    st.integers(0, 2**32 - 1),
)
def test_stratified_counts_are_within_one_of_what_is_expected(chances, rows, seed):
    table = np.array([chances, chances[::-1]])
    state = np.random.default_rng(seed).integers(0, 2, rows)
    drawn = stratified(table, state, np.random.default_rng(seed))
    for value in (0, 1):
        own = drawn[state == value]
        counts = np.bincount(own, minlength=len(chances))
        expected = len(own) * table[value] / table[value].sum()
        assert (np.abs(np.cumsum(counts) - np.cumsum(expected)) <= 1 + 1e-6).all()
        assert (counts[table[value] == 0] == 0).all()


def test_what_a_record_draws_does_not_follow_the_order_of_records():
    """Half the records of one state come first; both halves draw alike (5 standard errors)."""
    drawn = stratified(np.array([[0.5, 0.5]]), np.zeros(20_000, int), np.random.default_rng(1))
    assert abs(drawn[:10_000].mean() - 0.5) < 5 * 0.5 / np.sqrt(10_000)


@pytest.mark.parametrize(
    "cliques, parents, good",
    [
        (((0, 1), (1, 2)), (-1, 0), True),
        (((0, 1), (1, 2), (0, 2)), (-1, 0, 1), False),  # column 0 is in two places
        (((0, 1), (1, 2)), (-1, 1), False),
        (((0, 1),), (-1,), False),  # a column is in no clique
    ],
)
def test_only_trees_with_the_running_intersection_are_trees(cliques, parents, good):
    assert CliqueTree((2, 2, 2), cliques, parents).is_tree() is good


def test_tables_are_looked_up_as_their_shapes_say():
    tables = CellTables(SIZES, tuple(itertools.combinations(range(5), 2)))
    rng = np.random.default_rng(1)
    vector, codes = rng.normal(size=tables.length), rng.integers(0, 2, (5, 40_000))
    expected = np.zeros(codes.shape[1])
    for (a, b), table in tables.split(vector):
        expected += table[codes[a], codes[b]]
    np.testing.assert_allclose(tables.sums(vector, codes), expected)
