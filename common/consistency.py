"""Counts that agree: the least-squares estimate from noisy one-way counts and noisy pair tables.

Every block of a class and every table of two blocks must sum to the class's size, and the margins
of a table are the groups' counts. A table falls into four orthogonal parts (total, rows, columns,
interaction), of which the interaction says nothing about one column, so each block can be solved
alone once the total is known, and the total in closed form.

Source: generalised least squares; consistency of overlapping noisy marginals as in Hay et al.
2010 (arXiv:0904.0942). All of it is post-processing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["ConsistentMarginals", "reconcile_marginals", "table_margins"]

Array = np.ndarray[Any, np.dtype[Any]]
# Stands for "no noise": keeps weights finite where a test or a toy measured exactly.
_MIN_STD = 1e-9


@dataclass(frozen=True, kw_only=True)
class ConsistentMarginals:
    """Estimates that agree with each other.

    Attributes:
      counts: (C,) records of each class; may be negative.
      count_std: standard deviation of each of them.
      one_way: (C, D) records of each code; every block sums to the class's count.
      one_way_std: (D,) standard deviation of each of them where the class's size is known.
      column_std: (D,) of their sums over all classes.
    """

    counts: Array
    count_std: float
    one_way: Array
    one_way_std: Array
    column_std: Array


def reconcile_marginals(
    counts: Array,
    cells: Array,
    look_std: float,
    sizes: Sequence[int],
    *,
    groups: Array | None = None,
    tables: Sequence[Mapping[tuple[int, int], Array]] = (),
    pair_std: float = 1.0,
) -> ConsistentMarginals:
    """Returns the least-squares estimate.

    Args:
      counts: (C,) noisy records of each class.
      cells: (C, D) noisy records of each code within each class.
      look_std: standard deviation of both.
      sizes: cells of each block; they sum to D.
      groups: (D,) group of each cell within its block, if there are tables.
      tables: for each class, the noisy table on groups of each pair of blocks.
      pair_std: standard deviation of the tables' cells.
    """
    look_var, pair_var = max(look_std, _MIN_STD) ** 2, max(pair_std, _MIN_STD) ** 2
    precisions, sums = [1.0 / look_var], [counts.astype(np.float64)]
    blocks, start = [], 0
    for position, size in enumerate(sizes):
        block = _Block(
            cells[:, start : start + size].astype(np.float64),
            np.zeros(size, dtype=np.int64) if groups is None else groups[start : start + size],
            look_var,
            *table_margins(position, tables, pair_var),
        )
        blocks.append(block)
        precisions.append(block.precision)
        sums.append(block.total)
        start += size
    for pair in tables[0] if tables else ():
        precisions.append(1.0 / (tables[0][pair].size * pair_var))
        sums.append(np.array([table[pair].sum() for table in tables]))
    weights = np.array(precisions)
    total = (weights[:, None] * np.array(sums)).sum(axis=0) / weights.sum()
    std = np.concatenate([np.zeros(0), *(block.std for block in blocks)]) * (look_std > 0)
    return ConsistentMarginals(
        counts=total,
        count_std=float(weights.sum() ** -0.5) if look_std > 0 else 0.0,
        one_way=np.concatenate(
            [np.zeros((len(total), 0)), *(block.given(total) for block in blocks)], axis=1
        ),
        one_way_std=std,
        column_std=std * math.sqrt(len(total)),
    )


def table_margins(
    position: int, tables: Sequence[Mapping[tuple[int, int], Array]], pair_var: float
) -> tuple[Array, float]:
    """Returns a block's deviations from equal groups (C, G), and the precision of each."""
    deviations, precision = [np.zeros((1, 1))], 0.0
    for pair in tables[0] if tables else ():
        if position in pair:
            axis = 1 if pair[0] == position else 0
            margin = np.array([table[pair].sum(axis=axis) for table in tables])
            weight = 1.0 / (tables[0][pair].shape[axis] * pair_var)
            deviations.append(weight * (margin - margin.mean(axis=1, keepdims=True)))
            precision += weight
    return np.asarray(sum(deviations)) / max(precision, 1e-300), precision


class _Block:
    """One block: minimises sum_g w_g (L_g - c_g)^2 + p |(I - J) c - d|^2 over its groups' counts.

    L_g is a group's noisy count, w_g its precision, d the margins' deviations and p theirs, J the
    mean. The Hessian is diag(w + p) - p J; `precision` is that of the block's own total.
    """

    def __init__(
        self, cells: Array, groups: Array, look_var: float, deviations: Array, precision: float
    ) -> None:
        self._cells, self._groups = cells, groups
        self._members = np.bincount(groups).astype(np.float64)
        self._looked = np.stack([np.bincount(groups, row) for row in cells])
        look = 1.0 / (self._members * look_var)
        inverse = 1.0 / (look + precision)
        shared = precision / len(look)
        left = 1.0 - shared * inverse.sum()
        right = look * self._looked + precision * deviations
        # Sherman and Morrison: the inverse of diag(w + p) - p J.
        scaled = right * inverse
        self._best = scaled + shared * inverse * scaled.sum(axis=1, keepdims=True) / left
        self.total = self._best.sum(axis=1)
        self.precision = float(left / inverse.sum())
        self._slope = inverse / inverse.sum()
        variance = inverse - inverse**2 / inverse.sum()
        within = look_var * (1.0 - 1.0 / self._members)
        self.std = np.sqrt(variance / self._members**2 + within)[groups]

    def given(self, total: Array) -> Array:
        """Returns the cells (C, size), once the totals of the classes are known."""
        agreed = self._best + self._slope * (total - self.total)[:, None]
        change = (agreed - self._looked) / self._members
        cells: Array = self._cells + change[:, self._groups]
        return cells
