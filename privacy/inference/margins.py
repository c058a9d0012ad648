"""One column's distribution from its noisy counts, and how it moves with each count.

Noise in the empty tails of a wide column would swamp its mean and variance: the counts there are
noise alone, at the largest values. So the cells of numbers are smoothed. Their expected counts are
w exp(s) for cells of width w, with s penalised by its third differences (P-splines of degree zero,
Eilers and Marx 1996: a normal density costs nothing), the weight of the penalty by the largest
marginal likelihood under the known noise. Cells that stand out of the smooth shape, such as rounded
numbers or a spike at a bound, are kept as they were counted.

Categories, special values and missing cells are not smoothed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

__all__ = ["Margin", "raw_margin", "smooth_margin"]

Array = NDArray[Any]

_ORDER = 3
_MIN_CELLS = 12
_PENALTIES = np.logspace(-2, 8, 11)
_STEPS = 40
_SPIKE = 4.5
_MAX_SPIKES = 0.4
_RIDGE = 1e-9


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Margin:
    """A column's distribution.

    Attributes:
      shares: of each cell, (cells,); none is negative, their sum is 1.
      counts: the noisy counts that they come from, (cells,).
      smooth: number of the first cells that were smoothed; 0 for none.
      kept: (smooth,) whether a cell was kept as counted.
      slopes: (smooth,) of each expected count in s.
      precisions: (smooth,) of each count, 0 where it was kept as counted.
      penalty: weight of the penalty.
      places: (finest cells,) in which of the cells above each finest cell of the column lies.
      within: (finest cells,) which part of that cell it is; both None where they are the same.
    """

    shares: Array
    counts: Array
    smooth: int = 0
    kept: Array
    slopes: Array
    precisions: Array
    penalty: float = 0.0
    places: Array | None = None
    within: Array | None = None

    def spread(self) -> Array:
        """Returns the share of each finest cell of the column."""
        if self.places is None or self.within is None:
            return self.shares
        spread: Array = self.shares[self.places] * self.within
        return spread

    def gathered(self, weights: Array) -> Array:
        """Returns the mean in each cell of a weight of each finest cell."""
        if self.places is None or self.within is None:
            return weights
        return np.bincount(self.places, weights * self.within, minlength=len(self.shares))

    def mean(self, weights: Array) -> float:
        """Returns the mean of a weight of each cell."""
        return float(self.shares @ weights)

    def influence(self, weights: Array) -> Array:
        """Returns how much `mean` changes with each noisy count, to first order, (cells,)."""
        total = max(float(np.maximum(self.counts, 0.0).sum()), 1.0)
        apart = (weights - self.mean(weights)) / total
        if not self.smooth:
            return apart
        inner = apart[: self.smooth]
        solved = _solve(self.slopes**2 * self.precisions, self.penalty, self.slopes * inner)
        moved = self.precisions * self.slopes * solved
        return np.concatenate([np.where(self.kept, inner, moved), apart[self.smooth :]])


def raw_margin(counts: Array) -> Margin:
    """Returns the distribution of noisy counts as they are, cut at zero."""
    nothing = np.zeros(0)
    return Margin(
        shares=_shares(counts), counts=counts, kept=nothing, slopes=nothing, precisions=nothing
    )


def smooth_margin(counts: Array, widths: Array, variance: float) -> Margin:
    """Returns the distribution of a column whose first cells are those of a numeric axis.

    Args:
      counts: (cells,) noisy counts.
      widths: (bins,) of the first cells, in any unit.
      variance: of the noise in each count.
    """
    bins = len(widths)
    if bins < _MIN_CELLS or variance <= 0.0:
        return raw_margin(counts)
    kept = np.zeros(bins, dtype=bool)
    observed = counts[:bins].astype(np.float64)
    fit = _fitted(observed, widths, variance, kept)
    for _ in range(bins):
        apart = np.abs(observed - fit.expected) / np.sqrt(variance + fit.expected)
        apart[kept] = 0.0
        if apart.max() < _SPIKE:
            break
        kept |= apart >= max(_SPIKE, 0.5 * apart.max())
        if kept.mean() > _MAX_SPIKES:
            return raw_margin(counts)
        fit = _fitted(observed, widths, variance, kept)
    expected = counts.astype(np.float64).copy()
    expected[:bins] = np.where(kept, observed, fit.expected)
    return Margin(
        shares=_shares(expected),
        counts=expected,
        smooth=bins,
        kept=kept,
        slopes=fit.expected,
        precisions=fit.precisions,
        penalty=fit.penalty,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Fit:
    expected: Array
    precisions: Array
    penalty: float
    evidence: float


def _fitted(observed: Array, widths: Array, variance: float, kept: Array) -> _Fit:
    """Returns the fit with the penalty of the largest marginal likelihood."""
    found: list[_Fit] = []
    start = np.full(len(observed), np.log(max(float(observed[~kept].mean()), 1.0)))
    start = start - np.log(widths / widths.mean())
    for penalty in _PENALTIES[::-1]:
        fit, start = _newton(observed, widths / widths.mean(), variance, kept, penalty, start)
        found.append(fit)
    return max(found, key=lambda fit: fit.evidence)


def _newton(
    observed: Array, widths: Array, variance: float, kept: Array, penalty: float, start: Array
) -> tuple[_Fit, Array]:
    """Returns the fit at a penalty, and s where it ended."""
    s = start.copy()

    def parts(s: Array) -> tuple[Array, Array, float]:
        expected = widths * np.exp(np.clip(s, -30.0, 30.0))
        precisions = np.where(kept, 0.0, 1.0 / (variance + level))
        rough = np.diff(s, _ORDER)
        loss = float(precisions @ (observed - expected) ** 2) + penalty * float(rough @ rough)
        return expected, precisions, loss

    # Sampling makes a count vary too; its size is taken from a local mean of the counts.
    level = np.maximum(np.convolve(observed, np.ones(5) / 5, mode="same"), 0.0)
    expected, precisions, loss = parts(s)
    for _ in range(_STEPS):
        gradient = expected * precisions * (observed - expected)
        gradient -= penalty * _adjoint(np.diff(s, _ORDER))
        step = _solve(expected**2 * precisions, penalty, gradient)
        size = min(1.0, 3.0 / max(float(np.abs(step).max()), 1e-12))
        while size > 1e-4:
            tried = parts(s + size * step)
            if tried[2] < loss:
                break
            size /= 2.0
        else:
            break
        s, gain = s + size * step, loss - tried[2]
        expected, precisions, loss = tried
        if gain < 1e-8 * max(loss, 1.0):
            break
    log_determinant = _log_determinant(expected**2 * precisions, penalty)
    rank = len(s) - _ORDER
    evidence = -0.5 * loss + 0.5 * rank * np.log(penalty) - 0.5 * log_determinant
    return _Fit(expected, precisions, float(penalty), float(evidence)), s


def _adjoint(rough: Array) -> Array:
    """Returns D' of third differences, (cells,)."""
    padded = np.pad(rough, _ORDER)
    return -np.diff(padded, _ORDER)


@cache
def _bands(size: int) -> Array:
    """Returns D'D in the upper form of banded matrices, (order + 1, cells)."""
    differences = np.diff(np.eye(size), _ORDER, axis=0)
    square = differences.T @ differences
    rows = np.zeros((_ORDER + 1, size))
    for above in range(_ORDER + 1):
        rows[_ORDER - above, above:] = np.diagonal(square, above)
    return rows


def _banded(diagonal: Array, penalty: float) -> Array:
    rows: Array = _bands(len(diagonal)) * penalty
    rows[_ORDER] += diagonal + _RIDGE * (1.0 + penalty)
    return rows


def _solve(diagonal: Array, penalty: float, right: Array) -> Array:
    solved: Array = scipy.linalg.solveh_banded(_banded(diagonal, penalty), right)
    return solved


def _log_determinant(diagonal: Array, penalty: float) -> float:
    factor = scipy.linalg.cholesky_banded(_banded(diagonal, penalty))
    return float(2.0 * np.log(factor[_ORDER]).sum())


def _shares(counts: Array) -> Array:
    kept = np.maximum(counts, 0.0)
    total = float(kept.sum())
    return kept / total if total > 0.0 else np.full(len(kept), 1.0 / len(kept))
