"""The likely shape of one column, from its noisy counts.

A shape says where in a group or segment of cells records are likely to lie. It serves for nothing
that counts themselves tell: sums and their errors come from `blended`, without any smoothing.

Noise in the empty tails of a wide column would swamp its shape: the counts there are noise alone,
at the largest values. So the cells of numbers are smoothed. Their expected counts are w exp(s) for
cells of width w, with s penalised by its third differences (P-splines of degree zero, Eilers and
Marx 1996: a normal density costs nothing), the weight of the penalty by the largest marginal
likelihood under the known noise. Cells that stand out of the smooth shape, such as rounded numbers
or a spike at a bound, are kept as they were counted.

Categories, special values and missing cells are not smoothed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

__all__ = ["raw_shares", "smooth_shares"]

Array = NDArray[Any]

_ORDER = 3
_MIN_CELLS = 12
_PENALTIES = np.logspace(-2, 8, 11)
_STEPS = 40
_SPIKE = 4.5
_MAX_SPIKES = 0.4
_RIDGE = 1e-9


def raw_shares(counts: Array) -> Array:
    """Returns the share of each cell by noisy counts as they are, cut at zero."""
    kept = np.maximum(counts, 0.0)
    total = float(kept.sum())
    return kept / total if total > 0.0 else np.full(len(kept), 1.0 / len(kept))


def smooth_shares(counts: Array, widths: Array, variance: float) -> Array:
    """Returns the shares of a column whose first cells are those of a numeric axis, (cells,).

    None is negative, and they add up to one.

    Args:
      counts: (cells,) noisy counts.
      widths: (bins,) of the first cells, in any unit.
      variance: of the noise in each count.
    """
    bins = len(widths)
    if bins < _MIN_CELLS or variance <= 0.0:
        return raw_shares(counts)
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
            return raw_shares(counts)
        fit = _fitted(observed, widths, variance, kept)
    expected = counts.astype(np.float64).copy()
    expected[:bins] = np.where(kept, observed, fit.expected)
    return raw_shares(expected)


@dataclass(frozen=True, slots=True, eq=False)
class _Fit:
    expected: Array
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
    return _Fit(expected, float(evidence)), s


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
