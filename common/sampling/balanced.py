"""Chooses rows of a weighted pool so that their tables are the pool's, nearly cell by cell.

Each row is to be taken f times, f being its weight in units of a row of the result. Independent
choices, or systematic ones in any one order, leave every cell of every table with the noise of
sampling. Here rows are looked at in small batches, in random order, and those in cells that have
too few rows so far are taken more readily: a row's chance to be rounded up falls with the sum of
the surpluses of its cells. So counts of pairs and triples of columns, and with them all single
columns, are close to what they should be, and each row is still taken about f times.

Source: self-balancing walks, Alweiss, Liu & Sawhney 2021 (arXiv:2006.14009); the cube method of
balanced sampling, Deville & Tille 2004, for the purpose.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.common.models.cell_tables import CellTables

__all__ = ["balanced_choice"]

Array = NDArray[Any]

_BATCH = 256
# How strongly a surplus of one standard deviation of sampling, mean over tables, moves a chance.
_PULL = 10.0


def balanced_choice(
    times: Array, tables: Sequence[tuple[CellTables, Array]], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Returns how often each row is taken, (R,): its number of times rounded up or down.

    Args:
      times: (R,) how often each row should be taken, 0 or more.
      tables: what should be balanced: layouts, each with the codes (columns, R) of the rows.
      rng: source of the order and of the choices.
    """
    taken = np.floor(times).astype(np.int64)
    part = times - taken
    layouts = [_Cells(layout, codes, part) for layout, codes in tables if layout.columns]
    order = rng.permutation(np.flatnonzero(part > 0))
    owed = 0.0
    for start in range(0, len(order), _BATCH):
        rows = order[start : start + _BATCH]
        cells = [layout.of(rows) for layout in layouts]
        pull = np.full(len(rows), owed)
        for layout, of in zip(layouts, cells, strict=True):
            pull += layout.surplus(of) * _PULL
        # Linear in the pull, whatever a row's part: light rows gain and lose as heavy ones do.
        pull = np.clip(pull, -1.0, 1.0)
        up = rng.random(len(rows)) < part[rows] * (1.0 - (1.0 - part[rows]) * pull)
        taken[rows] += up
        moved = up - part[rows]
        owed += float(moved.sum()) / _BATCH
        for layout, of in zip(layouts, cells, strict=True):
            layout.add(of, moved)
    return taken


class _Cells:
    """The surplus of each cell of some tables, in units of what sampling would leave."""

    def __init__(self, tables: CellTables, codes: Array, part: Array) -> None:
        width = max(map(len, tables.columns))
        self._codes = np.ascontiguousarray(codes.T.astype(np.int64))
        self._columns = [np.array([t[axis] for t in tables.columns]) for axis in range(width)]
        sizes = np.array(tables.sizes)
        self._sizes = [sizes[columns] for columns in self._columns]
        self._starts = np.array([span.start for span in tables.spans])
        expected = np.concatenate(
            [
                np.bincount(tables.cells(t, codes), part, minlength=span.stop - span.start)
                for t, span in enumerate(tables.spans)
            ]
        )
        self._scale = 1.0 / (np.sqrt(expected + 1.0) * len(tables.columns))
        self._surplus = np.zeros(tables.length)

    def of(self, rows: Array) -> Array:
        """Returns the cells (N, tables) of rows, counted over all tables."""
        codes = self._codes[rows]
        cells: Array = codes[:, self._columns[0]]
        for columns, sizes in zip(self._columns[1:], self._sizes[1:], strict=True):
            cells = cells * sizes + codes[:, columns]
        found: Array = cells + self._starts
        return found

    def surplus(self, cells: Array) -> Array:
        """Returns the mean surplus of the cells of each row, (N,)."""
        mean: Array = (self._surplus * self._scale)[cells].sum(axis=1)
        return mean

    def add(self, cells: Array, moved: Array) -> None:
        """Adds what was taken beyond what should be, (N,)."""
        weights = np.repeat(moved, cells.shape[1])
        self._surplus += np.bincount(cells.reshape(-1), weights, minlength=len(self._surplus))
