"""Noisy tables moved towards what a public table says, as far as it predicts them.

What columns have to do with each other is a table's part beside its total and single columns. Of a
class with n records, let J be that part of the noisy table, measured from independence, and I that
of the public table, scaled (iterative proportional fitting) to the class's own size and columns: a
public table of other people may be older or richer and still tell how columns go together. Then

    J = strength I + misfit + noise,

noise having the known variance s^2, and the misfit of a cell that is expected to hold e records the
variance c e (`fedloom.common.column_prior`). Both unknowns are read from the noisy answers alone:

    strength   of all tables, less where a column or a table tells so (`public_strength`)
    c          ((J - strength I)^2 - s^2) / e in the mean over a table; the median of all tables

and J moves to strength I + (c e / (c e + s^2)) (J - strength I), the posterior mean, with the
variance s^2 c e / (c e + s^2) instead of s^2. A public table whose strength is not three standard
errors above 0 is left out: the noisy tables stay as they were, to the last bit; so does a single
table of no strength. A table that misses by more than all together do (chi-square, Bonferroni) has
a misfit of its own.

Relations that are right beside differences of classes that are not make labels worse than noisy
relations do, as a linear discriminant with the right covariance and noisy means is worse than naive
Bayes with the same means. So no table has a greater strength than the differences of classes in its
columns have.

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
from fedloom.server.learners.public_strength import strengths, tells
from fedloom.server.learners.with_margins import with_margins

__all__ = ["Moved", "moved_towards", "scaled_to"]

Array = NDArray[Any]

_SIGNIFICANT = 1e-3
_SWEEPS, _CLOSE = 50, 1e-6
# Records that every code of a public column has beside its own: none is impossible.
_UNSEEN = 0.5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Moved:
    """Tables after the move.

    Attributes:
      counts: (C, length) noisy counts; totals and single columns are as they were.
      std: (C, T) standard deviation of what columns have to do with each other, by table (the root
        mean square of its cells').
      strengths: of the public table in each table, (T,) between 0 and 1.
    """

    counts: Array
    std: Array
    strengths: Array


def moved_towards(
    tables: CellTables,
    noisy: Array,
    std: float,
    public: Array,
    margins: Sequence[Sequence[Array] | None],
    *,
    most: Array | None = None,
) -> Moved | None:
    """Returns the noisy tables moved towards public ones; None where those do not predict them.

    Args:
      tables: the layout, of two columns and more each.
      noisy: (C, length) noisy counts of each class.
      std: standard deviation of their noise, above 0.
      public: (C, length) counts of the public table.
      margins: for each class, its columns' estimated records; None for a class that is left alone.
      most: greatest strength of each column's tables, (m,) between 0 and 1; None for 1.
    """
    labels = [label for label, known in enumerate(margins) if known is not None]
    known = [part for part in margins if part is not None]
    if not labels or not tables.columns:
        return None
    parts = zip(noisy[labels], public[labels], known, strict=True)
    own, told, expected = np.stack([_parts(tables, *part) for part in parts], axis=1)
    agreed, size, chance = _sums(tables, own, told, np.full(own.shape, std**2))
    if not tells(agreed, chance):
        return None
    free = np.array([_freedom(shape) for shape in tables.shapes], dtype=np.float64)
    spans = tables.spans
    seen = np.maximum(public[labels][:, spans[0]].sum(axis=1), 1.0)
    least = 1.0 + expected[:, spans[0]].sum(axis=1) / seen
    # Misfit is first seen beside one strength of all: it widens what chance makes of each one's.
    misfit = own - min(float(agreed.sum() / size.sum()), 1.0) * told
    spread = std**2 + _variances(tables, misfit, expected, std, free, least)
    found = strengths(*_sums(tables, own, told, spread), tables.columns)
    if most is not None:
        found = np.minimum(found, [float(most[list(table)].min()) for table in tables.columns])
    misfit = own - _cells(tables, found) * told
    variance = _variances(tables, misfit, expected, std, free, least)
    kept = np.where(_cells(tables, found) > 0.0, variance / (variance + std**2), 1.0)
    counts, stds = noisy.astype(np.float64), np.full((len(noisy), len(free)), std)
    for place, label in enumerate(labels):
        stds[label] *= np.sqrt([float(kept[place, span].mean()) for span in spans])
        change = (kept[place] - 1.0) * misfit[place]
        counts[label] += with_margins(tables, change, [0.0 * part for part in known[place]])
    return Moved(counts=counts, std=stds, strengths=found)


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
            others = tuple(a for a in axes if a != axis)
            ratio = margins[axis] / np.maximum(fitted.sum(axis=others), 1e-300)
            furthest = max(furthest, float(np.abs(ratio - 1.0).max()))
            fitted = fitted * np.expand_dims(ratio, others)
        if furthest < _CLOSE:
            break
    return fitted


def _parts(tables: CellTables, noisy: Array, public: Array, margins: Sequence[Array]) -> Array:
    """Returns J, I and the expected counts of a class, (3, length)."""
    own = with_margins(tables, noisy, margins)
    told, expected = np.zeros(tables.length), np.zeros(tables.length)
    records = max(float(margins[0].sum()), 1e-9)
    split = (tables.split(vector) for vector in (own, told, expected, public))
    for (columns, table), (_, part), (_, whole), (_, counted) in zip(*split, strict=True):
        known = [margins[column] for column in columns]
        apart = _outer(known) / records ** (len(known) - 1)
        table -= apart
        whole += scaled_to(counted.astype(np.float64), known)
        part += whole - apart
    return np.array([own, told, expected])


def _sums(
    tables: CellTables, own: Array, told: Array, variance: Array
) -> tuple[Array, Array, Array]:
    """Returns <J, I>, <I, I> and the variance of the first, of each table over all classes."""
    found = (own * told, np.square(told), np.square(told) * variance)
    starts = [span.start for span in tables.spans]
    agreed, size, spread = (np.add.reduceat(part.sum(axis=0), starts) for part in found)
    return agreed, size, spread


def _cells(tables: CellTables, of_tables: Array) -> Array:
    """Returns for each cell what is said of its table."""
    found: Array = np.repeat(of_tables, [span.stop - span.start for span in tables.spans])
    return found


def _variances(
    tables: CellTables, misfit: Array, expected: Array, std: float, free: Array, least: Array
) -> Array:
    """Returns the variance c e of each cell's misfit, (K, length)."""
    found = np.zeros(misfit.shape)
    for place in range(len(misfit)):
        spread = np.array([float(expected[place, span].mean()) for span in tables.spans])
        squares = np.array([float(np.square(misfit[place, s]).sum()) for s in tables.spans])
        own = np.maximum((squares / free - std**2) / np.maximum(spread, 1e-12), least[place])
        shared = float(np.median(own))
        chance = chi2.sf(squares / (std**2 + shared * spread), free)
        factors = np.where(chance < _SIGNIFICANT / len(free), own, shared)
        found[place] = _cells(tables, factors) * expected[place]
    return found


def _freedom(shape: tuple[int, ...]) -> int:
    """Returns the degrees of freedom of a table whose total and single columns are known."""
    return max(math.prod(shape) - 1 - sum(size - 1 for size in shape), 1)


def _outer(parts: Sequence[Array]) -> Array:
    found: Array = reduce(np.multiply.outer, parts)
    return found
