"""The dual of maximum entropy: its gradient, its optimum, and the structure it stands on."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedloom.common.models.cell_tables import CellTables
from fedloom.common.models.clique_tree import CliqueTree
from fedloom.common.models.tree import marginals
from fedloom.server.learners import slack, tree_fit
from fedloom.server.learners.tree_fit import ClassCounts, TreeFit, fit_classes
from fedloom.server.learners.tree_structure import choose_tree
from fedloom.server.learners.with_margins import with_margins

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
    return alone(np.log(np.concatenate(singles)), counts, max(std, 1e-4)), exact


def alone(shares: np.ndarray, counts: np.ndarray, std: float) -> TreeFit:
    stds = np.full(len(TREE.pairs), std)
    known = ClassCounts(base=shares, records=1000.0, counts=counts, stds=stds)
    return TreeFit(TREE, [known], strength=0.12, start=([shares], np.zeros(len(counts))))


def solved(fit: TreeFit) -> tuple[np.ndarray, np.ndarray]:
    (found,), theta = fit.solve(300)
    return found, theta


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
    found, theta = solved(fit)
    assert (
        np.abs(fit.loss(np.concatenate([found - fit._classes[0].base, theta]))[1]).max()
        < 0.01 * start
    )


def test_without_noise_the_pairs_within_cliques_are_met():
    fit, exact = problem(std=0.0)
    tables, _ = marginals(TREE, *solved(fit))
    found = np.concatenate(
        [
            TREE.marginal(tables[TREE.homes[pair]], TREE.homes[pair], pair).reshape(-1)
            for pair in TREE.pairs
        ]
    )
    np.testing.assert_allclose(found * 1000, exact, atol=1.0)


def from_noise_alone() -> float:
    """Returns how far tables of noise move pairs from independence; mean over 12 draws."""
    columns, exact = relation(0.0)
    moved = []
    for seed in range(12):
        noise = np.random.default_rng(seed).normal(0.0, 1e7, len(exact))
        layout = CellTables(SIZES, TREE.pairs)
        margins = np.split(1000.0 * np.exp(columns), np.cumsum(SIZES)[:-1])
        found = solved(alone(columns, with_margins(layout, noise, margins), 1e7))
        moved.append(np.abs(pair_counts(*found) - exact).mean())
    return float(np.mean(moved))


def test_noise_beyond_all_counts_leaves_the_columns_independent(monkeypatch):
    assert from_noise_alone() < 1.0
    monkeypatch.setattr(slack, "_MOST_VARIANCE", np.inf)  # chance is taken for a relation
    assert from_noise_alone() > 10.0


@pytest.mark.parametrize("std", [0.0, 5.0, 100.0])
def test_single_columns_are_met_whatever_the_noise_of_pairs(std):
    fit, _ = problem(std)
    tables, _ = marginals(TREE, *solved(fit))
    wanted, start = np.exp(fit._classes[0].base), 0
    for column, size in enumerate(SIZES):
        home = TREE.homes[column,]
        found = TREE.marginal(tables[home], home, (column,))
        np.testing.assert_allclose(found, wanted[start : start + size], atol=2e-3)
        start += size


def relation(strength: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns columns (logarithms) and exact counts of pairs of 1,000 records, all related."""
    theta = [
        strength * np.outer(np.linspace(-1, 1, SIZES[a]), np.linspace(-1, 1, SIZES[b])).ravel()
        for a, b in TREE.pairs
    ]
    uniform = np.log(np.concatenate([np.full(size, 1.0 / size) for size in SIZES]))
    tables, _ = marginals(TREE, uniform, np.concatenate(theta))
    columns = [TREE.marginal(tables[TREE.homes[c,]], TREE.homes[c,], (c,)) for c in range(4)]
    return np.log(np.concatenate(columns)), pair_counts(uniform, np.concatenate(theta))


def pair_counts(columns: np.ndarray, theta: np.ndarray) -> np.ndarray:
    tables, _ = marginals(TREE, columns, theta)
    found = [TREE.marginal(tables[TREE.homes[pair]], TREE.homes[pair], pair) for pair in TREE.pairs]
    return 1000.0 * np.concatenate([part.ravel() for part in found])


def distance_of_independence() -> float:
    columns, exact = relation(0.6)
    return float(np.abs(pair_counts(columns, np.zeros(len(exact))) - exact).mean())


def errors(std: float) -> tuple[float, float]:
    """Returns the mean distance to the pairs of a large class and of a class a twentieth of it."""
    columns, exact = relation(0.6)
    distances = []
    for seed in range(2):
        rng = np.random.default_rng(seed)
        known = [
            ClassCounts(
                base=columns,
                records=records,
                counts=exact * records / 1000.0 + rng.normal(0.0, std, len(exact)),
                stds=np.full(len(TREE.pairs), std),
            )
            for records in (20_000.0, 1_000.0)
        ]
        fitted = fit_classes(TREE, known, strength=0.12)
        distances.append([np.abs(pair_counts(*of) - exact).mean() for of in fitted])
    large, small = np.mean(distances, axis=0)
    return float(large), float(small)


def test_a_small_class_learns_what_all_classes_share(monkeypatch):
    apart = distance_of_independence()
    assert errors(std=200.0)[1] < 0.3 * apart
    monkeypatch.setattr(tree_fit, "_SHARED_STEPS", 0)  # each class by itself
    assert errors(std=200.0)[1] > 0.4 * apart


def test_a_relation_that_stands_out_of_the_noise_is_not_drawn_to_nothing(monkeypatch):
    apart = distance_of_independence()
    assert errors(std=700.0)[0] < 0.4 * apart
    monkeypatch.setattr(tree_fit, "told_strength", lambda *_, most: most)
    assert errors(std=700.0)[0] > 0.7 * apart


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
