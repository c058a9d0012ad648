"""Maximum entropy given noisy tables of pairs, on a clique tree, fitted to convergence.

The distribution of a class is a base (columns independent) times exp(phi of every column + theta
of every pair within a clique). With the columns' known shares p, noisy counts y of standard
deviation s, n records, and theta0 to start from,

    minimise   n log Z(phi, theta) - n phi . p - theta . y + (k s^2 / 2) |theta - theta0|^2

whose gradient by theta is n mu(theta) - y + k s^2 (theta - theta0): the expected counts meet the
noisy ones up to their noise, and as much as they may differ the distribution stays near its start;
single columns, which are known best, are met. It is convex; L-BFGS solves it in some hundred steps,
each one pass over the tree. What is left over, tables that no clique holds, is for `tilt`.

Columns mostly have to do with each other in the same way in all classes, and a small class alone
cannot tell that from noise. So one theta is fitted to all classes together first, each with a phi
of its own and their gradients added up; a class then starts from it. k is read off each pair where
its table differs from the start by more than a standard deviation of what noise does
(`fedloom.server.learners.slack`).

Source: the dual of maximum entropy with slack, Dudik, Phillips & Schapire 2007, section 3; noisy
marginals on a clique tree, McKenna, Sheldon & Miklau 2019 (arXiv:1901.09136). Post-processing.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from fedloom.common.models.cell_tables import CellTables
from fedloom.common.models.clique_tree import CliqueTree
from fedloom.common.models.tree import marginals
from fedloom.server.learners.slack import told_strength

__all__ = ["ClassCounts", "TreeFit", "fit_classes"]

Array = NDArray[Any]
# Of each class base and phi together (sum of sizes,), and theta of the pairs (length,).
Fitted = tuple[list[Array], Array]

# A pair's table tells its strength from so many standard deviations of noise on.
_TELLS = 1.0
_MAX_STEPS = 300
# What all classes share is a start only.
_SHARED_STEPS = 100
_MEMORY = 20
_TINY = 1e-9
_PRECISION = {"ftol": 1e-9, "gtol": 1e-3}


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ClassCounts:
    """What is known of a class.

    Attributes:
      base: (sum of sizes,) log-probabilities of each column's groups: the known shares.
      records: n, above 0.
      counts: (length,) noisy counts of the pairs within cliques, one after another.
      stds: (pairs,) standard deviation of the noise of each pair's counts.
    """

    base: Array
    records: float
    counts: Array
    stds: Array


def fit_classes(
    tree: CliqueTree, classes: Sequence[ClassCounts], *, strength: float
) -> list[tuple[Array, Array]]:
    """Returns of each class base and phi together (sum of sizes,), and theta (length,).

    Args:
      tree: the structure.
      classes: at least one.
      strength: k of a pair that tells nothing.
    """
    length = CellTables(tree.sizes, tree.pairs).length
    start: Fitted = [known.base for known in classes], np.zeros(length)
    if not tree.pairs:
        return [(base, start[1]) for base in start[0]]
    if len(classes) > 1:
        together = TreeFit(tree, classes, strength=strength, start=start)
        start = together.solve(_SHARED_STEPS)
    found = []
    for known, base in zip(classes, start[0], strict=True):
        own = TreeFit(tree, [known], strength=strength, start=([base], start[1]))
        bases, theta = own.solve(_MAX_STEPS)
        found.append((bases[0], theta))
    return found


class TreeFit:
    """The dual problem of one theta for one class or several."""

    def __init__(
        self,
        tree: CliqueTree,
        classes: Sequence[ClassCounts],
        *,
        strength: float,
        start: Fitted,
    ) -> None:
        """States the problem.

        Args:
          tree: the structure.
          classes: that share theta.
          strength: k of a pair that tells nothing.
          start: base and phi of each class, and theta0.
        """
        self._tree, self._classes, self._start = tree, classes, start
        self._columns = len(classes[0].base)
        singles = [known.records * np.exp(known.base) for known in classes]
        pairs = np.sum([known.counts for known in classes], axis=0)
        self._wanted = np.concatenate([*singles, pairs])
        _, expected = self._expected(np.zeros(len(self._wanted)))
        self._ridge = np.concatenate(
            [np.full(self._columns, _TINY * known.records) for known in classes]
            + [self._slack(pairs, expected[-len(pairs) :], strength)]
        )
        # Steps in units of each cell's own curvature at the start.
        self._scale = 1.0 / np.sqrt(expected + self._ridge + _TINY)

    def solve(self, steps: int) -> Fitted:
        """Returns base and phi together of each class, and theta.

        Args:
          steps: at most.
        """
        found = minimize(
            self._scaled_loss,
            np.zeros(len(self._wanted)),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": steps, "maxcor": _MEMORY, **_PRECISION},
        )
        return self._moved(found.x * self._scale)

    def loss(self, moved: Array) -> tuple[float, Array]:
        """Returns the dual's value and its gradient.

        Args:
          moved: phi of each class and theta less where they start, one after another.
        """
        log_total, expected = self._expected(moved)
        value = log_total - float((moved * self._wanted).sum())
        value += 0.5 * float((self._ridge * moved * moved).sum())
        return value, expected - self._wanted + self._ridge * moved

    def _scaled_loss(self, scaled: Array) -> tuple[float, Array]:
        value, gradient = self.loss(scaled * self._scale)
        return value, gradient * self._scale

    def _moved(self, moved: Array) -> Fitted:
        ends = [self._columns * place for place in range(len(self._classes) + 1)]
        parts = [moved[start:end] for start, end in itertools.pairwise(ends)]
        bases = [base + part for base, part in zip(self._start[0], parts, strict=True)]
        return bases, self._start[1] + moved[ends[-1] :]

    def _expected(self, moved: Array) -> tuple[float, Array]:
        """Returns sum of n log Z, and the counts of columns by class and of pairs over all."""
        tree, (bases, theta) = self._tree, self._moved(moved)
        value, singles, pairs = 0.0, [], np.zeros(len(theta))
        for known, base in zip(self._classes, bases, strict=True):
            tables, log_total = marginals(tree, base, theta)
            value += known.records * log_total
            of_columns, of_pairs = tree.margins(tables)
            singles.append(known.records * np.concatenate(of_columns))
            parts = [part.reshape(-1) for part in of_pairs] or [np.zeros(0)]
            pairs += known.records * np.concatenate(parts)
        return value, np.concatenate([*singles, pairs])

    def _slack(self, pairs: Array, expected: Array, strength: float) -> Array:
        """Returns k s^2 of each cell, s^2 being the noise of all classes together."""
        layout = CellTables(self._tree.sizes, self._tree.pairs)
        variances = np.sum([np.square(known.stds) for known in self._classes], axis=0)
        slack = np.empty(layout.length)
        for pair, span, variance in zip(layout.columns, layout.spans, variances, strict=True):
            residual, found = pairs[span] - expected[span], strength
            # Margins are known, so noise has (rows - 1) (columns - 1) degrees of freedom.
            free = math.prod(self._tree.sizes[column] - 1 for column in pair)
            told = (free + _TELLS * math.sqrt(2.0 * free)) * variance
            if float(np.square(residual).sum()) > told:
                found = told_strength(residual, expected[span], free * variance, most=strength)
            slack[span] = found * variance
        return slack
