"""Reweights rows until they meet every noisy table, each as far as its noise lets one ask.

Rows r of a pool get the log-weight sum over tables t of theta_t[cell of r in t]; for every cell

    k s_t^2 theta_t + c(theta) = v_t,

v being the noisy count, s its noise (with that of the pool itself) and c the weighted count:
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

from fedloom.common.models.cell_tables import CellTables

__all__ = ["NoisyTables", "tilt"]

Array = NDArray[Any]

_SWEEPS = 14
_DAMPING = 0.5
_MAX_STEP = 1.0
# What a cell of few rows holds is an accident of the pool: slack of so many rows, beside the noise.
_ROWS_OF_SLACK = 4.0


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class NoisyTables:
    """Noisy counts of tables, and where the pool's rows lie in them.

    Attributes:
      tables: their layout.
      codes: (columns, R) codes of the pool's rows.
      counts: (length,) noisy counts.
      std: standard deviation of their noise.
    """

    tables: CellTables
    codes: Array
    counts: Array
    std: float


def tilt(
    noisy: Sequence[NoisyTables], records: float, *, strength: float, sweeps: int = _SWEEPS
) -> list[Array]:
    """Returns theta (length,) of each of the groups of tables.

    Args:
      noisy: what the rows are to meet; all of one pool.
      records: number of records that the weights sum to.
      strength: k, how much the pool counts, in units of the noise's own weight.
      sweeps: over all tables.
    """
    thetas = [np.zeros(part.tables.length) for part in noisy]
    if not noisy or not records > 0:
        return thetas
    rows = noisy[0].codes.shape[1]
    weights = np.full(rows, records / rows)
    for _ in range(sweeps):
        for part, theta in zip(noisy, thetas, strict=True):
            slack = strength * part.std**2 + _ROWS_OF_SLACK * records / rows
            for table, span in enumerate(part.tables.spans):
                held = theta[span]
                # All tables speak of the same records.
                wanted = part.counts[span] + (records - part.counts[span].sum()) / len(held)
                cells = part.tables.cells(table, part.codes)
                counts = np.bincount(cells, weights, minlength=len(wanted))
                counts *= records / counts.sum()
                step = _DAMPING * (wanted - counts - slack * held) / (counts + slack)
                # A cell that no row is in could take any weight, and would give it to the first
                # row that another pool has there: it keeps theta 0.
                there = counts > 0
                step = np.where(there, np.clip(step, -_MAX_STEP, _MAX_STEP), 0.0)
                weights *= np.exp(step)[cells]
                held += step
        weights *= records / weights.sum()
    return thetas
