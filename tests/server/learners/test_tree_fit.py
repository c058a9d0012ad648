"""The dual of maximum entropy: its gradient, its optimum, and the structure it stands on."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedloom.common.models.clique_tree import CliqueTree
from fedloom.common.models.tree import marginals
from fedloom.server.learners.tree_fit import TreeFit
from fedloom.server.learners.tree_structure import choose_tree

SIZES = (2, 3, 2, 3)
TREE = CliqueTree(SIZES, ((0, 1, 2), (1, 2, 3)), (-1, 0))


def base(seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    parts = [rng.dirichlet(np.ones(size)) for size in SIZES]
    return np.log(np.concatenate(parts))


def problem(std: float = 5.0, seed: int = 1) -> tuple[TreeFit, np.ndarray]:
    rng = np.random.default_rng(seed)
    whole = rng.gamma(0.7, size=SIZES)
    whole *= 1000 / whole.sum()
    tables = [
        whole.sum(axis=tuple(c for c in range(4) if c not in pair)).reshape(-1)
        for pair in TREE.pairs
    ]
    exact = np.concatenate(tables)
    counts = exact + rng.normal(0, std, len(exact))
    singles = [whole.sum(axis=tuple(c for c in range(4) if c != one)) / 1000 for one in range(4)]
    shares = np.concatenate(singles) if std == 0.0 else np.exp(base())
    return TreeFit(TREE, np.log(shares), counts, max(std, 1e-4), 1000.0, strength=0.12), exact


def test_the_gradient_is_that_of_the_loss():
    fit, exact = problem()
    moves = np.random.default_rng(2).normal(0, 0.3, sum(SIZES) + len(exact))
    value, gradient = fit.loss(moves)
    step = 1e-5
    for place in range(len(moves)):
        moved = moves.copy()
        moved[place] += step
        slope = (fit.loss(moved)[0] - value) / step
        assert slope == pytest.approx(gradient[place], abs=1e-3 * max(1.0, abs(gradient[place])))


def test_at_the_optimum_nothing_is_left_of_the_gradient():
    fit, exact = problem()
    start = np.abs(fit.loss(np.zeros(sum(SIZES) + len(exact)))[1]).max()
    found, theta = fit.solve()
    assert np.abs(fit.loss(np.concatenate([found - base(), theta]))[1]).max() < 0.01 * start


def test_without_noise_the_pairs_within_cliques_are_met():
    fit, exact = problem(std=0.0)
    tables, _ = marginals(TREE, *fit.solve())
    found = np.concatenate(
        [
            TREE.marginal(tables[TREE.homes[pair]], TREE.homes[pair], pair).reshape(-1)
            for pair in TREE.pairs
        ]
    )
    np.testing.assert_allclose(found * 1000, exact, atol=1.0)


def test_noise_beyond_all_counts_leaves_the_columns_independent():
    length = problem()[1].shape[0]
    noise = np.random.default_rng(3).normal(0, 1e7, length)
    fit = TreeFit(TREE, base(), noise, 1e7, 1000.0, strength=0.12)
    tables, _ = marginals(TREE, *fit.solve())
    first, second = np.exp(base())[:2], np.exp(base())[2:5]
    pair = TREE.marginal(tables[0], 0, (0, 1))
    np.testing.assert_allclose(pair, np.outer(first, second), atol=0.01)


@pytest.mark.parametrize("std", [0.0, 5.0, 100.0])
def test_single_columns_are_met_whatever_the_noise_of_pairs(std):
    fit, _ = problem(std)
    tables, _ = marginals(TREE, *fit.solve())
    wanted, start = np.exp(fit._base), 0
    for column, size in enumerate(SIZES):
        home = TREE.homes[column,]
        found = TREE.marginal(tables[home], home, (column,))
        np.testing.assert_allclose(found, wanted[start : start + size], atol=2e-3)
        start += size


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_any_structure_is_a_tree_within_its_limits(columns, seed):
    rng = np.random.default_rng(seed)
    sizes = tuple(int(size) for size in rng.integers(1, 6, columns))
    scores = {pair: rng.normal() for pair in itertools.combinations(range(columns), 2)}
    tree = choose_tree(sizes, scores, max_cells=60, max_total=300)
    assert tree.is_tree()
    assert max(math.prod(shape) for shape in tree.shapes) <= 60 and tree.num_cells <= 300


def test_the_strongest_pairs_stand_together_and_independent_ones_do_not():
    scores = {(0, 1): 5.0, (1, 2): 4.0, (0, 2): -1.0, (2, 3): 3.0, (0, 3): 0.0, (1, 3): -2.0}
    tree = choose_tree((3, 3, 3, 3), scores, max_cells=9, max_total=100)
    assert set(tree.pairs) == {(0, 1), (1, 2), (2, 3)}


def test_limits_drop_the_weakest_pair_of_a_triangle():
    scores = {(0, 1): 3.0, (0, 2): 2.0, (1, 2): 1.0}
    assert set(choose_tree((3, 3, 3), scores, max_cells=27, max_total=99).pairs) == set(scores)
    small = choose_tree((3, 3, 3), scores, max_cells=26, max_total=99)
    assert set(small.pairs) == {(0, 1), (0, 2)}


def test_a_wide_table_gets_a_spanning_forest_of_its_strongest_pairs():
    rng = np.random.default_rng(1)
    columns = 60
    scores = {pair: rng.random() for pair in itertools.combinations(range(columns), 2)}
    scores |= {(a, a + 1): 10.0 for a in range(columns - 1)}
    tree = choose_tree((3,) * columns, scores, max_cells=9, max_total=10_000)
    assert tree.is_tree() and tree.pairs == tuple((a, a + 1) for a in range(columns - 1))
