"""Draws of a `tree` under conditions, against its distribution written out cell by cell."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from fedloom.common.artifact import Artifact
from fedloom.common.encoding import Encoding
from fedloom.common.errors import ConfigError
from fedloom.common.models.tree import Tree, TreeShape, tree_shapes
from fedloom.common.sampling import array_shapes, sample
from fedloom.common.sampling.tree import TreeSource
from fedloom.common.schema import Column, Schema

ENCODING = Encoding(
    Schema(
        (
            Column("a", "category", values=("p", "q", "r"), nullable=True),
            Column("b", "integer", minimum=0, maximum=5),
            Column("c", "category", values=("x", "y", "z")),
            Column("t", "category", values=("0", "1")),
        )
    ),
    "t",
)
# Cells of b in three groups; the last cell of each column may not be synthesised.
SHAPE = TreeShape(
    groups=((0, 1, 2, 3, 3), (0, 0, 1, 1, 2, 2, 2), (0, 1, 2, 2)),
    cliques=((0, 1), (1, 2)),
    parents=(-1, 0),
    coarse=((0, 1, 1, 2), (0, 1, 1), (0, 1, 0)),
    parities=((0, 1, 2), (0, 2)),
    halves=((0, 1, 0, 1), (0, 0, 1), (1, 0, 0)),
    pool_rows=(0, 0, 0),
    pool_seed=7,
)


def artifact(seed: int = 1, strength: float = 0.6) -> Artifact:
    """A tree with numbers of its own: all parts, tilt included, change the distribution."""
    rng = np.random.default_rng(seed)
    shapes = tree_shapes(SHAPE.config(), ENCODING)
    arrays = {name: rng.normal(0, strength, shape) for name, shape in shapes.items()}
    arrays["class_prior"] = np.array([0.6, 0.4, 0.0])
    cells = rng.gamma(1.0, size=shapes["cells"])
    for block in ENCODING.features:
        cells[:, block.start : block.start + block.size] *= block.sampleable
    arrays["cells"] = cells
    arrays["log_scale"] = np.zeros(ENCODING.num_classes)
    for label in range(2):
        arrays["log_scale"][label] = -np.log(groups_of(arrays, label).sum())
    return Artifact(kind="tree", config=SHAPE.config(), arrays=arrays)


def groups_of(arrays: dict[str, np.ndarray], label: int) -> np.ndarray:
    """The chance of each combination of groups in a class, up to its scale: the definition."""
    sizes = SHAPE.sizes
    chances = np.zeros(sizes)
    starts = np.cumsum([0, *sizes])
    pairs = dict(SHAPE.pairs.split(arrays["pairs"][label]))
    edges = dict(SHAPE.edges.split(arrays["edges"][label]))
    ((_, triple),) = SHAPE.triples.split(arrays["triples"][label])
    for record in itertools.product(*map(range, sizes)):
        singles = arrays["base"][label] + arrays["columns"][label]
        log = sum(singles[starts[c] + g] for c, g in enumerate(record))
        for tables in (pairs, edges):
            log += sum(table[record[a], record[b]] for (a, b), table in tables.items())
        upper = [SHAPE.halves[c][g] for c, g in enumerate(record)]
        for number, columns in enumerate(SHAPE.parities):
            odd = sum(upper[c] for c in columns) % 2
            log += arrays["parities"][label][2 * number + odd]
        chances[record] = np.exp(
            log + triple[tuple(SHAPE.coarse[c][g] for c, g in enumerate(record))]
        )
    return chances


def cells_of(given: Artifact, shares: dict[str, np.ndarray]) -> np.ndarray:
    """The chance of each record (class, cell, cell, cell) under conditions."""
    sizes = [block.size for block in ENCODING.features]
    whole = np.zeros((2, *sizes))
    for label in range(2):
        groups = groups_of(given.arrays, label)
        scale = given.arrays["class_prior"][label] * np.exp(given.arrays["log_scale"][label])
        within = []
        for feature, block in enumerate(ENCODING.features):
            part = given.arrays["cells"][label, block.start : block.start + block.size]
            of = np.asarray(SHAPE.groups[feature])
            share = part / np.bincount(of, part)[of]
            within.append(share * shares.get(block.name, np.ones(block.size)))
        index = np.ix_(*(np.asarray(of) for of in SHAPE.groups))
        product = np.einsum("i,j,k->ijk", *within)
        whole[label] = scale * groups[index] * product * shares.get("t", np.ones(3))[label]
    return whole / whole.sum()


def statistic_of(given: Artifact, expected: np.ndarray, shares, rows=60_000) -> tuple[float, int]:
    codes, classes = TreeSource(given, ENCODING, shares).draw(rows, np.random.default_rng(2))
    counts = np.zeros(expected.shape)
    np.add.at(counts, (classes, *codes.T), 1)
    wanted = expected * rows
    assert counts[expected == 0].sum() == 0
    kept = wanted > 5
    return float(((counts - wanted)[kept] ** 2 / wanted[kept]).sum()), int(kept.sum())


CONDITIONS = {
    "none": {},
    "a column": {"a": np.array([0.0, 1.0, 1.0, 0.0, 0.0])},
    "part of a bin": {"b": np.array([0.25, 1.0, 0.0, 0.5, 0.0, 1.0, 0.0])},
    "two columns": {
        "a": np.array([1.0, 0.0, 0.0, 1.0, 0.0]),
        "c": np.array([0.0, 1.0, 1.0, 0.0]),
    },
    "the label": {"t": np.array([0.0, 1.0, 0.0])},
    "label and column": {
        "t": np.array([1.0, 1.0, 0.0]),
        "b": np.array([0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0]),
    },
}


@pytest.mark.parametrize("name", list(CONDITIONS))
def test_records_have_the_distribution_given_the_condition(name):
    """Weights add some variance to a draw: half as much again is allowed, at 1e-6 for chance."""
    given = artifact()
    statistic, cells = statistic_of(given, cells_of(given, CONDITIONS[name]), CONDITIONS[name])
    assert statistic < 1.5 * chi2.isf(1e-6, cells)


def test_without_conditions_rows_come_from_the_pool_that_the_tilt_was_fitted_to():
    config = SHAPE.config() | {"pool_rows": [300, 200, 0]}
    given = Artifact(kind="tree", config=config, arrays=artifact().arrays)
    tree = Tree.of(given, ENCODING)
    codes, classes = TreeSource(given, ENCODING, {}).draw(5_000, np.random.default_rng(3))
    for label in range(2):
        pool = tree.pool(label)
        assert pool.shape == (3, config["pool_rows"][label])
        np.testing.assert_array_equal(pool, tree.pool(label))
        weights = np.exp(tree.log_tilt(label, pool))
        groups = [np.asarray(of)[codes[classes == label, c]] for c, of in enumerate(SHAPE.groups)]
        place = np.ravel_multi_index(groups, SHAPE.sizes)
        size = int(np.prod(SHAPE.sizes))
        drawn = np.bincount(place, minlength=size) / len(place)
        wanted = np.bincount(np.ravel_multi_index(list(pool), SHAPE.sizes), weights, size)
        np.testing.assert_allclose(drawn, wanted / weights.sum(), atol=2e-3)


@pytest.mark.parametrize("part", ["columns", "pairs", "triples", "edges", "parities"])
def test_a_part_that_is_left_out_is_caught(part):
    given = artifact()
    without = {**given.arrays, part: np.zeros_like(given.arrays[part])}
    broken = Artifact(kind="tree", config=given.config, arrays=without)
    statistic, cells = statistic_of(broken, cells_of(given, {}), {})
    assert statistic > 1.5 * chi2.isf(1e-6, cells)


def test_another_scale_of_a_class_is_caught_under_a_condition_alone():
    given, condition = artifact(), CONDITIONS["a column"]
    scale = given.arrays["log_scale"] + np.array([0.3, 0.0, 0.0])
    broken = Artifact(kind="tree", config=given.config, arrays={**given.arrays, "log_scale": scale})
    statistic, cells = statistic_of(broken, cells_of(given, condition), condition)
    assert statistic > 1.5 * chi2.isf(1e-6, cells)
    statistic, cells = statistic_of(broken, cells_of(given, {}), {})
    assert statistic < 1.5 * chi2.isf(1e-6, cells)


@settings(max_examples=25, deadline=None)
@given(st.sets(st.sampled_from("pqr"), min_size=1), st.integers(0, 5), st.integers(0, 5))
def test_every_row_meets_its_conditions(values, first, second):
    low, high = sorted((first, second))
    where = {"a": sorted(values), "b": (low, high)}
    frame = sample(artifact(), ENCODING.schema, "t", 200, where=where, seed=1)
    assert set(frame["a"]) <= values and frame["b"].between(low, high).all()


def test_the_same_seed_draws_the_same_rows():
    draws = [sample(artifact(), ENCODING.schema, "t", 500, seed=seed) for seed in (1, 1, 2)]
    assert draws[0].equals(draws[1]) and not draws[0].equals(draws[2])


def test_a_condition_without_a_chance_is_an_error():
    given = artifact()
    given.arrays["cells"][:, 0] = 0.0  # "p" alone in its group
    given.arrays["base"][:, 0] = -1e4
    with pytest.raises(ConfigError):
        TreeSource(given, ENCODING, {"a": np.array([1.0, 0.0, 0.0, 0.0, 0.0])})


def test_the_sketch_has_the_single_columns():
    given = artifact()
    sketch = TreeSource(given, ENCODING, {}).mixture()
    expected = cells_of(given, {})[0]
    marginal = sketch.marginals()[0]
    block = ENCODING.features[1]
    shares = expected.sum(axis=(0, 2)) / expected.sum()
    np.testing.assert_allclose(marginal[block.start : block.start + block.size], shares, atol=0.04)


@pytest.mark.parametrize(
    "change",
    [
        {"cliques": [[0, 1], [0, 2], [1, 2]], "parents": [-1, 0, 1]},
        {"cliques": [[0, 1], [2, 1]]},
        {"groups": [[0, 1, 2, 3, 3], [0, 0, 1, 1, 3, 3, 3], [0, 1, 2, 2]]},
        {"groups": [[0, 1, 2, 3, 3], [0, 0, 1, 1, 2, 2], [0, 1, 2, 2]]},
        {"coarse": [[0, 1], [0, 1, 1], [0, 1, 0]]},
        {"parents": [-1]},
        {"more": 1},
    ],
)
def test_settings_of_no_tree_are_refused(change):
    given = artifact()
    broken = Artifact(kind="tree", config={**given.config, **change}, arrays=given.arrays)
    with pytest.raises(ConfigError):
        array_shapes(broken, ENCODING)
