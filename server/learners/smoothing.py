"""Non-negative shares from noisy counts, by empirical Bayes: posterior means, never cut noise.

Cutting negative counts spreads the noise of a wide column over cells that hold nothing. Here each
cell, or each split of an axis, gets the mean of its posterior under a prior that is itself read
from the noisy counts of the same column: a mixture over scales, its weights found by a few steps
of EM from even ones, so that little is read into few counts.

- `flat`: cells without an order. A cell's count comes from a mixture of narrow normals on a grid
  of shares (non-parametric maximum likelihood: Kiefer & Wolfowitz 1956, as in Jiang & Zhang 2009).
- `near`: cells of which a distribution is known that they should resemble, such as a class's and
  that of all classes. A cell's ratio to it comes from a mixture on a grid of ratios, 0 among them:
  a class may lack what others have, and a count that noise alone explains is then near 0.
- `shared_out`: nodes of a hierarchy under parents whose counts are known; as `near`, with wider
  ratios, and each parent's nodes have its sum.
- `tree`: bins of an axis, split in two over and over. The share that a part takes of its
  parent is normal around the one expected, of one of several widths for each level, so that smooth
  axes come out smooth and spikes that are certain stay.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["flat", "near", "risk", "risk_towards", "shared_out", "split_masses", "towards", "tree"]

Array = NDArray[np.float64]

_EM_STEPS = 8
# Weight, in cells, of the prior that EM starts from and never forgets.
_PSEUDO = 1.0
_GRID = np.concatenate([[0.0], np.geomspace(1e-4, 1.0, 60)])
# Each share of the grid stands for those around it: half its distance to the next, relative to it.
_SPACING = 0.08
# Ratios of a cell to what is expected of it; those near 1 are the likely ones, none is ruled out.
_RATIOS = np.concatenate([[0.0], np.geomspace(0.01, 32.0, 61)])
_RATIO_SPACING = 0.5 * math.log(32.0 / 0.01) / 60
_LIKELY_RATIOS = np.exp(-0.5 * (np.log(np.maximum(_RATIOS, 1e-9)) / 0.7) ** 2) + 1e-3
_LIKELY_RATIOS /= _LIKELY_RATIOS.sum()
# Ratios of a node to an equal share of its parent: one of hundreds of codes may hold most of it.
_WIDE_RATIOS = np.concatenate([[0.0], np.geomspace(0.01, 1000.0, 101)])
_WIDE_SPACING = 0.5 * math.log(1000.0 / 0.01) / 100
# As in Zipf's law, large ratios are as rare as they are large.
_LIKELY_WIDE = 1.0 / np.maximum(_WIDE_RATIOS, 1.0)
_LIKELY_WIDE /= _LIKELY_WIDE.sum()
# Steepest tilt to a known sum, by which it is shared out, and steps of bisection towards it.
_STEEPEST, _HALVINGS = 1e5, 60
_WIDTHS = np.array([0.0, 0.03, 0.1, 0.2, 0.4, 0.8, 1.6])
# Where trees split; the mean of three shows no edges of any one of them.
_CUTS = (0.4, 0.5, 0.6)
_TINY = 1e-12


def risk(counts: Array, variances: Array, total: float, expected: Array | None = None) -> float:
    """Estimates the squared error of `near`, or of `flat` where nothing is expected.

    Unbiased but for what the fitted prior owes to the same counts: |f(y) - y|^2 - sum v + 2 sum of
    v times the derivative of f, which for a posterior mean is the posterior variance (Stein 1981).

    Args:
      counts: (k,) noisy counts y.
      variances: (k,) of their noise, v.
      total: their known sum.
      expected: (k,) what `near` expects; None for `flat`.
    """
    if expected is None:
        noise = np.maximum(variances, (1e-6 * total) ** 2)
        mean, spread = _posterior(counts, noise, _GRID * total, _SPACING * _GRID * total)
    else:
        mean, spread = _near(counts, variances, expected)
    return float((np.square(mean - counts) - variances + 2.0 * np.square(spread)).sum())


def risk_towards(counts: Array, variances: Array, expected: Array, misfit: float) -> float:
    """Estimates the squared error of `towards` without bias; see `risk`."""
    kept = _kept(variances, expected, misfit)
    moved = (1.0 - kept) * (counts - expected)
    return float((np.square(moved) - variances + 2.0 * kept * variances).sum())


def towards(counts: Array, variances: Array, expected: Array, misfit: float) -> Array:
    """Returns the posterior means of counts around `expected`, with the same sum.

    A count is normal around what is expected with the variance `misfit` times that, so the more a
    public table is off, the more the noisy counts say.

    Args:
      counts: (k,) noisy counts.
      variances: (k,) of their noise.
      expected: (k,) not negative.
      misfit: above 0.
    """
    total = float(expected.sum())
    kept = _kept(variances, expected, misfit)
    mean = np.maximum(expected + kept * (counts - expected), 0.0)
    return _summing(mean, np.sqrt(kept * variances) + _TINY * total, total)


def _kept(variances: Array, expected: Array, misfit: float) -> Array:
    spread = misfit * expected
    found: Array = spread / np.maximum(spread + variances, _TINY)
    return found


def flat(counts: Array, variances: Array, total: float) -> Array:
    """Returns the posterior means of counts that sum to `total`.

    Args:
      counts: (k,) noisy counts.
      variances: (k,) of their noise.
      total: their known sum, above 0.
    """
    if len(counts) == 1:
        return np.array([total])
    noise = np.maximum(variances, (1e-6 * total) ** 2)
    mean, spread = _posterior(counts, noise, _GRID * total, _SPACING * _GRID * total)
    mean = np.maximum(mean, 0.0)
    return _summing(mean, spread, total)


def near(counts: Array, variances: Array, expected: Array) -> Array:
    """Returns the posterior means of counts that should resemble `expected`, with the same sum."""
    total = float(expected.sum())
    mean, spread = _near(counts, variances, expected)
    return _summing(np.maximum(mean, 0.0), spread + _TINY * total, total)


def _near(counts: Array, variances: Array, expected: Array) -> tuple[Array, Array]:
    total = float(expected.sum())
    # A cell of which all classes together tell nothing may still hold what noise could hide.
    hidden = np.minimum(0.5 * np.sqrt(np.maximum(variances, 0.0)), 0.05 * total)
    unit = np.where(_RATIOS > 1.0, (expected + hidden)[:, None], expected[:, None])
    atoms = expected[:, None] + (_RATIOS - 1.0) * unit
    widths = _RATIO_SPACING * _RATIOS * unit
    return _posterior(counts, variances, atoms, widths, _LIKELY_RATIOS)


def shared_out(
    masses: Array, parents: NDArray[Any], shares: Array, counts: Array, variances: Array
) -> Array:
    """Shares out each mass among its nodes, as noisy counts of the nodes say.

    Args:
      masses: (p,) not negative.
      parents: (k,) the mass that each node belongs to.
      shares: (k,) positive: what is expected of each node; those of one parent sum to one.
      counts: (k,) noisy counts of the nodes.
      variances: (k,) of their noise.

    Returns:
      (k,) masses of the nodes; those of one parent sum to its mass.
    """
    expected = masses[parents] * shares + _TINY
    atoms = _WIDE_RATIOS * expected[:, None]
    posterior, means, _ = _weighed(counts, variances, atoms, _WIDE_SPACING * atoms, _LIKELY_WIDE)
    logs = np.log(np.maximum(posterior, 1e-300))
    sizes = (masses + _TINY)[parents]
    # What is known of a sum tilts the posterior of all its nodes alike, the less certain the more.
    low, high = np.full(len(masses), -_STEEPEST), np.full(len(masses), _STEEPEST)
    for _ in range(_HALVINGS):
        slopes = (low + high) / 2
        tilted = logs - (slopes[parents] / sizes)[:, None] * means
        tilted = np.exp(tilted - tilted.max(axis=1, keepdims=True))
        found = np.maximum((tilted * means).sum(axis=1) / tilted.sum(axis=1), 0.0)
        above = np.bincount(parents, found, minlength=len(masses)) > masses
        low, high = np.where(above, slopes, low), np.where(above, high, slopes)
    found += _TINY * expected
    result: Array = found * (masses / np.bincount(parents, found, minlength=len(masses)))[parents]
    return result


def _posterior(
    counts: Array, variances: Array, atoms: Array, widths: Array, start: Array | None = None
) -> tuple[Array, Array]:
    """Returns mean and standard deviation of each count under a mixture of narrow normals."""
    posterior, means, spreads = _weighed(counts, variances, atoms, widths, start)
    mean = (posterior * means).sum(axis=1)
    second = (posterior * (means**2 + spreads)).sum(axis=1)
    return mean, np.sqrt(np.maximum(second - mean**2, 0.0))


def _weighed(
    counts: Array, variances: Array, atoms: Array, widths: Array, start: Array | None = None
) -> tuple[Array, Array, Array]:
    """Returns weight, mean and variance of each count under each of a mixture's normals."""
    noise = np.maximum(variances, _TINY)[:, None]
    marginal = noise + widths**2
    fit = -0.5 * ((counts[:, None] - atoms) ** 2 / marginal + np.log(marginal))
    posterior = _mixture(fit, start)
    means = (atoms * noise + counts[:, None] * widths**2) / marginal
    return posterior, means, noise * widths**2 / marginal


def tree(counts: Array, covariance: Array, expected: Array, total: float) -> Array:
    """Returns smooth counts of bins on an axis that sum to `total`.

    Args:
      counts: (n,) noisy counts, from left to right.
      covariance: (n, n) of their noise.
      expected: (n,) positive: the shape that bins are expected to have where noise prevails.
      total: their known sum.
    """
    found = [_one_tree(counts, covariance, expected, total, cut) for cut in _CUTS]
    mean: Array = np.mean(found, axis=0)
    return mean


def _one_tree(counts: Array, covariance: Array, expected: Array, total: float, cut: float) -> Array:
    """Splits every span at the share `cut` of its length."""
    masses: dict[tuple[int, int], float] = {(0, len(counts)): total}
    for level in _levels(len(counts), cut):
        contrasts = np.zeros((len(level), len(counts)))
        halves = np.zeros(len(level))
        for row, (start, middle, stop) in enumerate(level):
            halves[row] = expected[start:middle].sum() / expected[start:stop].sum()
            contrasts[row, start:middle] = 1.0 - halves[row]
            contrasts[row, middle:stop] = -halves[row]
        parents = np.array([masses[start, stop] for start, _, stop in level])
        noise = ((contrasts @ covariance) * contrasts).sum(axis=1)
        scale = parents * np.sqrt(halves * (1.0 - halves))
        prior = (_WIDTHS * scale[:, None]) ** 2
        marginal = prior + np.maximum(noise, _TINY)[:, None]
        change = contrasts @ counts
        posterior = _mixture(-0.5 * (change[:, None] ** 2 / marginal + np.log(marginal)))
        moved = change * (posterior * prior / marginal).sum(axis=1)
        lefts = np.clip(halves * parents + moved, 0.0, parents)
        for (start, middle, stop), parent, left in zip(level, parents, lefts, strict=True):
            masses[start, middle], masses[middle, stop] = left, parent - left
    return np.array([masses[cell, cell + 1] for cell in range(len(counts))])


def split_masses(masses: Array, expected: Array, counts: Array, variances: Array) -> Array:
    """Splits each mass in two, as noisy counts of the halves and an expected shape say.

    Args:
      masses: (k,) not negative.
      expected: (k, 2) not negative: the halves' expected shares, of any sum.
      counts: (k, 2) noisy counts of the halves.
      variances: (k, 2) of their noise.

    Returns:
      (2k,) masses of the halves, those of one parent side by side.
    """
    sums = expected.sum(axis=1)
    first = np.divide(expected[:, 0], sums, out=np.zeros(len(sums)), where=sums > 0)
    lefts = masses * first
    open_ = (first > 0) & (first < 1)
    if open_.any():
        share, parents = first[open_], masses[open_]
        change = (1.0 - share) * counts[open_, 0] - share * counts[open_, 1]
        noise = (1.0 - share) ** 2 * variances[open_, 0] + share**2 * variances[open_, 1]
        scale = parents * np.sqrt(share * (1.0 - share))
        prior = (_WIDTHS * scale[:, None]) ** 2
        marginal = prior + np.maximum(noise, _TINY)[:, None]
        posterior = _mixture(-0.5 * (change[:, None] ** 2 / marginal + np.log(marginal)))
        moved = change * (posterior * prior / marginal).sum(axis=1)
        lefts[open_] = np.clip(share * parents + moved, 0.0, parents)
    halves: Array = np.column_stack([lefts, masses - lefts]).ravel()
    return halves


def _mixture(fit: Array, start: Array | None = None) -> Array:
    """Returns each row's posterior over the columns, whose weights EM finds from all rows.

    EM starts from the weights `start`, even ones by default.
    """
    likelihood = np.exp(fit - fit.max(axis=1, keepdims=True))
    prior = np.full(fit.shape[1], 1.0 / fit.shape[1]) if start is None else start
    weights = prior
    for _ in range(_EM_STEPS):
        posterior = likelihood * weights
        posterior /= posterior.sum(axis=1, keepdims=True)
        weights = posterior.sum(axis=0) + _PSEUDO * prior
        weights /= weights.sum()
    posterior = likelihood * weights
    result: Array = posterior / posterior.sum(axis=1, keepdims=True)
    return result


def _summing(values: Array, spread: Array, total: float) -> Array:
    """Moves non-negative values to the given sum, those most that are least certain."""
    missing = total - float(values.sum())
    if missing > 0.0:
        weights = spread if spread.sum() > 0 else np.ones(len(values))
        raised: Array = values + missing * weights / weights.sum()
        return raised
    for _ in range(50):
        weights = spread * (values > 0)
        if weights.sum() <= 0:
            break
        values = np.maximum(values + missing * weights / weights.sum(), 0.0)
        missing = total - float(values.sum())
        if missing > -1e-9 * total:
            break
    scaled: Array = values * (total / max(float(values.sum()), _TINY))
    return scaled


@lru_cache(maxsize=1024)
def _levels(size: int, cut: float) -> tuple[tuple[tuple[int, int, int], ...], ...]:
    """Returns, level by level, (start, middle, stop) of every span that is split in two."""
    levels: list[Any] = []
    spans = [(0, size)] if size > 1 else []
    while spans:
        level = [(a, min(max(a + round((b - a) * cut), a + 1), b - 1), b) for a, b in spans]
        if level:
            levels.append(tuple(level))
        halves = [half for a, m, b in level for half in ((a, m), (m, b))]
        spans = [(a, b) for a, b in halves if b - a > 1]
    return tuple(levels)
