"""Maximum entropy given noisy tables of pairs, on a clique tree, fitted to convergence.

The distribution is a base (columns independent) times exp(theta of every pair within a clique).
With noisy counts y of standard deviation s, and n records,

    minimise   n log Z(theta) - theta . y + (k s^2 / 2) |theta|^2

whose gradient is n mu(theta) - y + k s^2 theta: the expected counts meet the noisy ones up to
their noise, and as much as they may differ the distribution stays near its base. It is convex;
L-BFGS solves it in some hundred steps, each one pass over the tree. What is left over, tables
that no clique holds, is for `tilt`.

Source: the dual of maximum entropy with slack, Dudik, Phillips & Schapire 2007, section 3; noisy
marginals on a clique tree, McKenna, Sheldon & Miklau 2019 (arXiv:1901.09136). Post-processing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from fedloom.common.models.cell_tables import CellTables
from fedloom.common.models.clique_tree import CliqueTree
from fedloom.common.models.tree import log_potentials

__all__ = ["TreeFit"]

Array = NDArray[Any]

_MAX_STEPS = 300
_MEMORY = 20
_PRECISION = {"ftol": 1e-9, "gtol": 1e-3}


class TreeFit:
    """The dual problem of one class."""

    def __init__(
        self,
        tree: CliqueTree,
        base: Array,
        counts: Array,
        std: float,
        records: float,
        *,
        strength: float,
    ) -> None:
        """States the problem.

        Args:
          tree: the structure.
          base: (sum of sizes,) log-probabilities of each column's groups.
          counts: (length,) noisy counts of the pairs within cliques, one after another.
          std: standard deviation of their noise.
          records: n, above 0.
          strength: k, how much the base counts, in units of the noise's own weight.
        """
        self._tree, self._base, self._records = tree, base, records
        self._edges = CellTables(tree.sizes, tree.pairs)
        self._noisy, self._ridge = counts, strength * std**2
        # Steps in units of each cell's own curvature at the start.
        ends = np.cumsum([0, *tree.sizes])
        shares = [np.exp(base[ends[c] : ends[c + 1]]) for c in range(len(tree.sizes))]
        expected = [records * np.outer(shares[a], shares[b]).reshape(-1) for a, b in tree.pairs]
        flat = np.concatenate(expected) if expected else np.zeros(0)
        self._scale = 1.0 / np.sqrt(flat + self._ridge + 1e-9)

    def solve(self) -> Array:
        """Returns theta of the pairs within cliques, (length,)."""
        if not len(self._noisy):
            return np.zeros(0)
        found = minimize(
            self._scaled_loss,
            np.zeros(len(self._noisy)),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": _MAX_STEPS, "maxcor": _MEMORY, **_PRECISION},
        )
        theta: Array = found.x * self._scale
        return theta

    def loss(self, theta: Array) -> tuple[float, Array]:
        """Returns the dual's value and its gradient by theta, (length,)."""
        tables, log_total = marginals(self._tree, self._base, theta)
        expected = np.concatenate(
            [
                self._tree.marginal(tables[home], home, pair).reshape(-1)
                for pair, home in ((pair, self._tree.homes[pair]) for pair in self._tree.pairs)
            ]
        )
        value = self._records * log_total - float((theta * self._noisy).sum())
        value += 0.5 * self._ridge * float((theta * theta).sum())
        return value, self._records * expected - self._noisy + self._ridge * theta

    def _scaled_loss(self, scaled: Array) -> tuple[float, Array]:
        value, gradient = self.loss(scaled * self._scale)
        return value, gradient * self._scale


def marginals(tree: CliqueTree, base: Array, edges: Array) -> tuple[list[Array], float]:
    """Returns each clique's marginal, and the logarithm of the sum over all records' chances."""
    logs = log_potentials(tree, base, edges)
    tops = [float(table.max()) for table in logs]
    tables, log_total = tree.calibrate(
        [np.exp(table - top) for table, top in zip(logs, tops, strict=True)]
    )
    return tables, log_total + sum(tops)
