"""Noisy tables moved towards what a public table says, as far as it predicts them.

What columns have to do with each other is a table's part beside its total and single columns. Of a
class with n records, let J be that part of the noisy table, measured from independence, and I that
of the public table, scaled (iterative proportional fitting) to the class's own size and columns: a
public table of other people may be older or richer and still tell how columns go together. Then

    J = strength I + misfit + noise,

noise having the known variance s^2, and the misfit of a cell that is expected to hold e records the
variance c e (`fedloom.common.column_prior`). Both unknowns are read from the noisy answers alone:

    strength = <J, I> / <I, I>                              standard error s / |I|
    c        = ((J - strength I)^2 - s^2) / e in the mean over a table; the median of all tables

and J moves to strength I + (c e / (c e + s^2)) (J - strength I), the posterior mean, with the
variance s^2 c e / (c e + s^2) instead of s^2. A public table whose strength is not three standard
errors above 0 is left out: the noisy tables stay as they were, to the last bit. A table that misses
by more than all together do (chi-square, Bonferroni) has a misfit of its own.

Sources: Efron & Morris 1973 (shrinkage towards a regression; never worse in expectation than the
noisy counts where there are many cells); Deming & Stephan 1940; Fienberg & Holland 1973 for the
pseudo-counts of cells that a public table lacks. Post-processing of noisy answers and of public
counts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from fedloom.common.models.cell_tables import CellTables
from fedloom.server.learners.with_margins import with_margins

__all__ = ["Moved", "moved_towards", "scaled_to"]

Array = NDArray[Any]

_TELLS = 3.0
_SIGNIFICANT = 1e-3
_SWEEPS, _CLOSE = 50, 1e-6
# Records that every code of a public column has beside its own: none is impossible.
_UNSEEN = 0.5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Moved:
    """Tables after the move.

    Attributes:
      counts: (C, length) noisy counts; totals and single columns are as they were.
      std: root mean square of the standard deviations of what columns have to do with each other.
      strength: of the public table, between 0 and 1.
    """

    counts: Array
    std: float
    strength: float


def moved_towards(
    tables: CellTables,
    noisy: Array,
    std: float,
    public: Array,
    margins: Sequence[Sequence[Array] | None],
) -> Moved | None:
    """Returns the noisy tables moved towards public ones; None where those do not predict them.

    Args:
      tables: the layout, of two columns and more each.
      noisy: (C, length) noisy counts of each class.
      std: standard deviation of their noise, above 0.
      public: (C, length) counts of the public table.
      margins: for each class, its columns' estimated records; None for a class that is left alone.
    """
    told = [label for label, known in enumerate(margins) if known is not None]
    found = {label: _parts(tables, noisy[label], public[label], margins[label]) for label in told}
    size = sum(float((scaled**2).sum()) for _, scaled, _ in found.values())
    if size <= 0.0:
        return None
    strength = sum(float((own * scaled).sum()) for own, scaled, _ in found.values()) / size
    if strength < _TELLS * std / math.sqrt(size):
        return None
    strength = min(strength, 1.0)
    free = np.array([_freedom(shape) for shape in tables.shapes], dtype=np.float64)
    counts, left = noisy.astype(np.float64), 0.0
    for label, (own, scaled, expected) in found.items():
        misfit = own - strength * scaled
        seen = max(float(public[label][tables.spans[0]].sum()), 1.0)
        least = 1.0 + float(expected[tables.spans[0]].sum()) / seen
        kept = _kept(tables, misfit, expected, std, free, least)
        change = (kept - 1.0) * misfit
        counts[label] += with_margins(tables, change, [0.0 * part for part in margins[label] or ()])
        left += float((kept * std**2).mean())
    return Moved(counts=counts, std=math.sqrt(left / len(found)), strength=strength)


def scaled_to(table: Array, margins: Sequence[Array]) -> Array:
    """Returns a public table with given single columns, what columns have to do with it kept.

    Cells that it lacks get pseudo-counts in the proportion of independent columns, as many as
    Fienberg & Holland (1973) find best.

    Args:
      table: counts, of two axes and more.
      margins: of each axis; they have one sum.
    """
    axes = range(table.ndim)
    own = [table.sum(axis=tuple(a for a in axes if a != axis)) + _UNSEEN for axis in axes]
    own = [part / part.sum() for part in own]
    apart, total = _outer(own), float(table.sum())
    spread = float(((table - total * apart) ** 2).sum())
    pseudo = max((total**2 - float((table**2).sum())) / max(spread, 1e-9), 1.0)
    fitted: Array = (table + pseudo * apart) / (total + pseudo)
    for _ in range(_SWEEPS):
        furthest = 0.0
        for axis in axes:
            held = fitted.sum(axis=tuple(a for a in axes if a != axis))
            ratio = margins[axis] / np.maximum(held, 1e-300)
            furthest = max(furthest, float(np.abs(ratio - 1.0).max()))
            fitted = fitted * np.expand_dims(ratio, tuple(a for a in axes if a != axis))
        if furthest < _CLOSE:
            break
    return fitted


def _parts(
    tables: CellTables, noisy: Array, public: Array, margins: Sequence[Array] | None
) -> tuple[Array, Array, Array]:
    """Returns J, I and the expected counts of a class, (length,) each."""
    assert margins is not None
    own = with_margins(tables, noisy, margins)
    scaled, expected = np.zeros(tables.length), np.zeros(tables.length)
    records = max(float(margins[0].sum()), 1e-9)
    split = (tables.split(vector) for vector in (own, scaled, expected, public))
    for (columns, table), (_, told), (_, whole), (_, counted) in zip(*split, strict=True):
        known = [margins[column] for column in columns]
        apart = _outer(known) / records ** (len(known) - 1)
        table -= apart
        whole += scaled_to(counted.astype(np.float64), known)
        told += whole - apart
    return own, scaled, expected


def _kept(
    tables: CellTables, misfit: Array, expected: Array, std: float, free: Array, least: float
) -> Array:
    """Returns for each cell which share of its misfit is no noise, (length,)."""
    spread = np.array([float(expected[span].mean()) for span in tables.spans])
    squares = np.array([float(np.square(misfit[span]).sum()) for span in tables.spans])
    own = np.maximum((squares / free - std**2) / np.maximum(spread, 1e-12), least)
    shared = float(np.median(own))
    chance = chi2.sf(squares / (std**2 + shared * spread), free)
    factors = np.where(chance < _SIGNIFICANT / len(free), own, shared)
    cells = np.array([span.stop - span.start for span in tables.spans])
    variance = np.repeat(factors, cells) * expected
    found: Array = variance / (variance + std**2)
    return found


def _freedom(shape: tuple[int, ...]) -> int:
    """Returns the degrees of freedom of a table whose total and single columns are known."""
    return max(math.prod(shape) - 1 - sum(size - 1 for size in shape), 1)


def _outer(parts: Sequence[Array]) -> Array:
    found: Array = reduce(np.multiply.outer, parts)
    return found
