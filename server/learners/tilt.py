"""Reweights rows until they meet every noisy table, each as far as its noise lets one ask.

Rows r of a pool get the log-weight sum over tables t of theta_t[cell of r in t]; for every cell

    k s_t^2 theta_t + c(theta) = v_t,

v being the noisy count, s its noise and c the weighted count:
maximum entropy relative to the pool, with slack. One table after another takes a damped Newton
step. Any table can be asked for, also one that no clique of a tree holds.

Source: iterative proportional fitting (Deming & Stephan 1940) with slack, the dual of maximum
entropy under box-free penalties (Dudik, Phillips & Schapire 2007). Post-processing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from fedloom.common.models.cell_tables import CellTables
from fedloom.server.learners.slack import told_strength

__all__ = ["NoisyTables", "tilt"]

Array = NDArray[Any]

_SWEEPS = 14
_DAMPING = 0.5
_MAX_STEP = 1.0
# Chance of one table among all to be taken for missed by accident.
_SIGNIFICANT = 1e-3


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class NoisyTables:
    """Noisy counts of tables, and where the pool's rows lie in them.

    Attributes:
      tables: their layout.
      codes: (columns, R) codes of the pool's rows.
      counts: (length,) noisy counts.
      std: standard deviation of their noise, one for all or one a table (T,).
    """

    tables: CellTables
    codes: Array
    counts: Array
    std: float | Array


def tilt(
    noisy: Sequence[NoisyTables],
    records: float,
    *,
    strength: float,
    sweeps: int = _SWEEPS,
    weights: Array | None = None,
) -> list[Array]:
    """Returns theta (length,) of each of the groups of tables.

    Args:
      noisy: what the rows are to meet; all of one pool.
      records: number of records that the weights sum to.
      strength: k, how much the pool counts, in units of the noise's own weight; less for a table
        that the pool certainly misses.
      sweeps: over all tables.
      weights: (R,) of the rows before; None for equal ones.
    """
    thetas = [np.zeros(part.tables.length) for part in noisy]
    if not noisy or not records > 0:
        return thetas
    rows = noisy[0].codes.shape[1]
    weights = np.ones(rows) if weights is None else weights
    weights = weights * (records / weights.sum())
    slacks = [_slacks(part, weights, strength, len(noisy)) for part in noisy]
    for _ in range(sweeps):
        for part, theta, of_tables in zip(noisy, thetas, slacks, strict=True):
            for table, span in enumerate(part.tables.spans):
                held, slack = theta[span], of_tables[table]
                # All tables speak of the same records.
                wanted = part.counts[span] + (records - part.counts[span].sum()) / len(held)
                cells = part.tables.cells(table, part.codes)
                counts = np.bincount(cells, weights, minlength=len(wanted))
                counts *= records / counts.sum()
                step = _DAMPING * (wanted - counts - slack * held) / (counts + slack)
                # A cell that no row is in could take any weight, and would give it to the first
                # row that another pool has there: it keeps theta 0.
                step = np.where(counts > 0, np.clip(step, -_MAX_STEP, _MAX_STEP), 0.0)
                weights *= np.exp(step)[cells]
                held += step
        weights *= records / weights.sum()
    return thetas


def _slacks(part: NoisyTables, weights: Array, strength: float, kinds: int) -> list[float]:
    """Returns k s^2 of each table.

    Where a table's residual under the pool is beyond what its noise and the pool's explain, by a
    chi-square test with Bonferroni's correction, k is read off the residual
    (`fedloom.server.learners.slack`). A strong relation that the tree cannot hold, such as a parity
    of three columns, is then met in full.
    """
    records, squares = float(weights.sum()), np.square(weights)
    slacks, variances = [], np.broadcast_to(part.std, len(part.tables.spans)) ** 2
    for table, span in enumerate(part.tables.spans):
        cells = part.tables.cells(table, part.codes)
        wanted = part.counts[span]
        counts = np.bincount(cells, weights, minlength=len(wanted))
        residual = wanted + (records - wanted.sum()) / len(wanted) - counts
        noise = variances[table] + np.bincount(cells, squares, minlength=len(wanted))
        found = strength
        chance = _SIGNIFICANT / (kinds * len(part.tables.spans))
        if float((residual**2 / noise).sum()) > chi2.isf(chance, len(wanted)):
            found = told_strength(residual, counts, float(noise.sum()), most=strength)
        slacks.append(found * float(variances[table]))
    return slacks
