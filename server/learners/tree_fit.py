"""Maximum entropy given noisy tables of pairs, on a clique tree, fitted to convergence.

The distribution is a base (columns independent) times exp(phi of every column + theta of every
pair within a clique). With the columns' known shares p, noisy counts y of standard deviation s,
and n records,

    minimise   n log Z(phi, theta) - n phi . p - theta . y + (k s^2 / 2) |theta|^2

whose gradient by theta is n mu(theta) - y + k s^2 theta: the expected counts meet the noisy ones
up to their noise, and as much as they may differ the distribution stays near its base; single
columns, which are known best, are met. It is convex; L-BFGS solves it in some hundred steps, each
one pass over the tree. What is left over, tables that no clique holds, is for `tilt`.

Source: the dual of maximum entropy with slack, Dudik, Phillips & Schapire 2007, section 3; noisy
marginals on a clique tree, McKenna, Sheldon & Miklau 2019 (arXiv:1901.09136). Post-processing.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from fedloom.common.models.clique_tree import CliqueTree
from fedloom.common.models.tree import marginals

__all__ = ["TreeFit"]

Array = NDArray[Any]

_MAX_STEPS = 300
_MEMORY = 20
_TINY = 1e-9
_PRECISION = {"ftol": 1e-9, "gtol": 1e-3}


class TreeFit:
    """The dual problem of one class."""

    def __init__(
        self,
        tree: CliqueTree,
        base: Array,
        counts: Array,
        std: float | Array,
        records: float,
        *,
        strength: float,
    ) -> None:
        """States the problem.

        Args:
          tree: the structure.
          base: (sum of sizes,) log-probabilities of each column's groups: the known shares.
          counts: (length,) noisy counts of the pairs within cliques, one after another.
          std: standard deviation of their noise, one for all or (length,).
          records: n, above 0.
          strength: k, how much the base counts, in units of the noise's own weight.
        """
        self._tree, self._base, self._records = tree, base, records
        self._ends = np.cumsum([0, *tree.sizes])
        shares = np.exp(base)
        self._wanted = np.concatenate([records * shares, counts])
        # What is known is met as nearly as numbers allow.
        self._ridge = np.full(len(self._wanted), _TINY * records)
        self._ridge[len(base) :] = strength * np.square(std)
        # Steps in units of each cell's own curvature at the start.
        parts = [shares[start:end] for start, end in itertools.pairwise(self._ends)]
        expected = [np.outer(parts[a], parts[b]).reshape(-1) for a, b in tree.pairs]
        start = records * np.concatenate([shares, *expected])
        self._scale = 1.0 / np.sqrt(start + self._ridge + _TINY)

    def solve(self) -> tuple[Array, Array]:
        """Returns base and phi together (sum of sizes,), and theta of the pairs (length,)."""
        if not self._tree.pairs:
            return self._base, np.zeros(0)
        found = minimize(
            self._scaled_loss,
            np.zeros(len(self._wanted)),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": _MAX_STEPS, "maxcor": _MEMORY, **_PRECISION},
        )
        moved = found.x * self._scale
        return self._base + moved[: len(self._base)], moved[len(self._base) :]

    def loss(self, moved: Array) -> tuple[float, Array]:
        """Returns the dual's value and its gradient by phi and theta together."""
        tree, columns = self._tree, len(self._base)
        tables, log_total = marginals(tree, self._base + moved[:columns], moved[columns:])
        singles = [tree.homes[column,] for column in range(len(tree.sizes))]
        found = [tree.marginal(tables[home], home, (c,)) for c, home in enumerate(singles)]
        found += [tree.marginal(tables[tree.homes[p]], tree.homes[p], p) for p in tree.pairs]
        expected = self._records * np.concatenate([part.reshape(-1) for part in found])
        value = self._records * log_total - float((moved * self._wanted).sum())
        value += 0.5 * float((self._ridge * moved * moved).sum())
        return value, expected - self._wanted + self._ridge * moved

    def _scaled_loss(self, scaled: Array) -> tuple[float, Array]:
        value, gradient = self.loss(scaled * self._scale)
        return value, gradient * self._scale
