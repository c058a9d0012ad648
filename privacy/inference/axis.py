"""Of a fine axis that was counted at several widths, the cells that tell its numbers best.

The noise of a count does not depend on how wide its cell is. Thousands of fine cells that hold a
few records each therefore say little of a mean or a variance, where some sixty wide ones say nearly
all. But a spike, such as zero in a column of amounts, must not be spread over a wide cell. So the
axis is cut into wide cells, and a cell is cut into its four children wherever their counts differ
from an even spread by more than noise and sampling explain, down to the finest width.

No count is used twice and none is a difference of others: noise in the counts of the cells is
independent, as in any other table of a study. All of it is post-processing.

Source: hierarchical histograms, Hay et al. 2010 (arXiv:0904.0942), here cut adaptively, as in
Cormode et al. 2012 (private spatial decompositions, arXiv:1103.5170).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.common.hierarchy import BRANCHING

__all__ = ["adaptive_cells", "wider_cells"]

Array = NDArray[Any]

_WIDEST = 64
# Standard deviations by which a child must differ from its part of an even spread.
_DIFFERS = 4.0


def adaptive_cells(
    levels: Sequence[Array], widths: Array, variance: float
) -> tuple[NDArray[np.int64], Array]:
    """Returns in which cell of the cut each finest cell lies, and the cells' noisy counts.

    Args:
      levels: noisy counts at each width, the finest first.
      widths: (bins,) of the finest cells, in any unit.
      variance: of the noise in each count.

    Returns:
      (bins,) numbers of cells from 0 in the order of the axis, and (cells,) counts.
    """
    spans = [np.asarray(widths, dtype=np.float64)]
    for counts in levels[1:]:
        padded = np.zeros(len(counts) * BRANCHING)
        padded[: len(spans[-1])] = spans[-1]
        spans.append(padded.reshape(len(counts), BRANCHING).sum(axis=1))
    top = _top(levels)
    places = np.zeros(len(widths), dtype=np.int64)
    found: list[float] = []

    def cut(level: int, cell: int) -> None:
        below = slice(cell * BRANCHING, (cell + 1) * BRANCHING)
        if level and _differ(levels[level - 1][below], spans[level - 1][below], variance):
            for child in range(below.start, min(below.stop, len(levels[level - 1]))):
                cut(level - 1, child)
            return
        reach = BRANCHING**level
        places[cell * reach : (cell + 1) * reach] = len(found)
        found.append(float(levels[level][cell]))

    for cell in range(len(levels[top])):
        cut(top, cell)
    return places, np.array(found)


def wider_cells(levels: Sequence[Array], bins: int) -> Iterator[tuple[NDArray[np.int64], Array]]:
    """Yields the counts at each width above those of `adaptive_cells`.

    Each comes with the places of the finest cells in it, (bins,).

    Args:
      levels: noisy counts at each width, the finest first.
      bins: number of the finest cells.
    """
    for level in range(_top(levels) + 1, len(levels)):
        yield np.arange(bins) // BRANCHING**level, levels[level].astype(np.float64)


def _top(levels: Sequence[Array]) -> int:
    """Returns the level whose cells `adaptive_cells` cuts further."""
    return next((k for k, counts in enumerate(levels) if len(counts) <= _WIDEST), len(levels) - 1)


def _differ(counts: Array, spans: Array, variance: float) -> bool:
    """Tells whether sibling cells' counts are further from an even spread than chance explains."""
    shares = spans / spans.sum()
    total = float(counts.sum())
    apart = np.abs(counts - total * shares)
    # The total's own noise and sampling move all of them; this is the most that one varies by.
    chance = variance * (1.0 + len(counts) * shares**2) + np.maximum(total, 0.0) * shares
    return bool((apart > _DIFFERS * np.sqrt(chance)).any())
