"""Fixed combinations of a mixture: the distribution given the constraint, by enumeration."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import chisquare

from fedloom.common.encoding import Encoding
from fedloom.common.models.mixture import Mixture
from fedloom.common.sampling.combined import ConditionedMixture
from fedloom.common.sampling.conditions import conditions_of
from fedloom.common.schema import Column, Schema
from fedloom.common.schema_constraint import Constraint

# The bins of n are 0..1, 2..3 and 4..5.
SCHEMA = Schema(
    (
        Column("s", "category", values=("x", "y"), nullable=True),
        Column("n", "integer", minimum=0, maximum=5, bins=3, nullable=True),
        Column("t", "category", values=("no", "yes"), nullable=True),
    ),
    (
        Constraint(
            "fixed-combinations",
            ("s", "n", "t"),
            rows=(("x", 0, "no"), ("x", 3, "yes"), ("y", 2, "no"), ("y", 5, "yes")),
        ),
    ),
)
ENCODING = Encoding(SCHEMA, "t")
ROWS = 200_000


def mixture():
    rng = np.random.default_rng(3)
    cells = rng.gamma(0.7, size=(ENCODING.num_classes, 4, ENCODING.width))
    for block in ENCODING.features:
        cells[:, :, block.start : block.start + block.size] *= block.sampleable
    return Mixture.from_parts(ENCODING, np.array([3.0, 2.0, 1.0, 0.0]), cells)


def enumerated(given, conditions):
    """Probabilities (s, n, t) with n by value, missing last, of a mixture under conditions."""
    s, n = (given.cells[:, b.start : b.start + b.size] for b in ENCODING.features)
    values = np.concatenate([np.repeat(n[:, :3] / 2, 2, axis=1), n[:, 3:4]], axis=1)
    label = np.eye(4)[given.classes][:, :3]
    joint = np.einsum("l,ls,ln,lt->snt", given.weights, s[:, :3], values, label)
    if conditions:
        joint[:, :3] = 0.0
    kept = np.zeros(joint.shape, dtype=bool)
    kept[2], kept[:, 6], kept[:, :, 2] = True, True, True
    for row in SCHEMA.constraints[0].rows:
        kept["xy".index(row[0]), row[1], ("no", "yes").index(row[2])] = True
    return np.where(kept, joint, 0.0)


@pytest.mark.parametrize("where", [{}, {"n": "3..|missing"}])
@pytest.mark.parametrize("weighed", [True, False])
def test_draws_are_those_of_enumeration(where, weighed):
    """Chi-square of all records at 200,000 draws, p above 1e-4: one false alarm in 10,000 seeds.

    The twin draws combinations within components, and leaves the components' weights.
    """
    allowed = conditions_of(where, ENCODING)
    source, _ = mixture().conditioned({name: given.shares for name, given in allowed.items()})
    combined = ConditionedMixture.of(source, allowed)
    if not weighed:
        combined = ConditionedMixture(
            replace(combined._mixture, weights=source.weights), combined._joints
        )
    expected = enumerated(mixture(), where)
    rng = np.random.default_rng(5)
    codes, classes, numbers = combined.draw(ROWS, rng)
    grid, n = ENCODING.grids[1], numbers["n"]
    binned = np.isnan(n) & (codes[:, 1] < 3)
    drawn = allowed["n"].draw if where else grid.draw
    n[binned] = drawn(codes[binned, 1], rng)
    n[np.isnan(n)] = 6
    cells = np.ravel_multi_index((codes[:, 0], n.astype(int), classes), expected.shape)
    found, flat = np.bincount(cells, minlength=expected.size), expected.reshape(-1)
    assert not found[flat == 0].any()
    wanted = flat[flat > 0] / flat.sum() * ROWS
    p_value = chisquare(found[flat > 0], wanted, sum_check=False).pvalue
    assert bool(p_value > 1e-4) is weighed
