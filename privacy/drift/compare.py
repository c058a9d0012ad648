"""The distance between two noisy distributions, what chance alone makes of it, and a test.

Shares p = a / A and q = b / B of the same G groups come from noisy counts a, b with independent
Gaussian noise of known variances, of A and B records. Their difference d = p - q has, to first
order in the noise, the covariance

    sum over both:  (V - p v' - v p' + |v| p p') / A^2  +  c (diag p - p p') / A

v being the variances of a study's counts, V their diagonal matrix, |v| their sum, and c the most
records of one unit (records of one person may be alike). The first part is the noise; the second
says how records were sampled from a population. If both populations are alike, both parts are taken
at the pooled shares, and

- the total variation |d|_1 / 2 has a mean and a standard deviation of closed form: that of folded
  normals, whose covariance is (2 / pi) s t (sqrt(1 - r^2) + r asin r - 1) for correlation r;
- d' C^- d is chi-square of rank G - 1: the test.

If a total variation of t parts the populations, d' C^- d is about noncentral chi-square with
m' C^- m, m being the true difference. Cauchy's inequality gives (s' m)^2 <= (s' C s) (m' C^- m) for
s the signs of m, where s' m = 2 t, so that the least noncentrality is 4 t^2 / max s' C s over signs
s, and some shift has it. The maximum is hard to find for many groups; for any positive weights w,
s' C s is at most the sum of w times the largest eigenvalue of C_ij / sqrt(w_i w_j). The least over
equal weights and w = diag C is taken: a power that is told is a lower bound to this order.

Sources: Wald 1943 for the test and its power; Leone, Nelson & Nottingham 1961 for the folded
normal; the mean of |x y| of two normals is Nabeya 1951. Post-processing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2, ncx2

from fedloom.privacy.drift.groups import Grouped

__all__ = ["Distance", "distance_between", "share_covariance"]

Array = NDArray[Any]

# A number of records that noise hides tells no shares.
_SEEN = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Distance:
    """How far two columns are from each other.

    Attributes:
      value: total variation between the noisy shares of the groups.
      by_chance: its mean if both populations are alike.
      std_error: its standard deviation then.
      p_value: chance of as much evidence against that, or more, if they are alike.
      groups: how many were compared.
      widest: bound on the variance of any sum of differences with signs: max s' C s.
    """

    value: float
    by_chance: float
    std_error: float
    p_value: float
    groups: int
    widest: float

    def power(self, shift: float, level: float) -> float:
        """Returns the chance, at the least, that the test finds a shift between the groups.

        Args:
          shift: true total variation between the shares of the groups, in (0, 1].
          level: of the test, in (0, 1).
        """
        if self.widest <= 0:
            return 1.0
        # Power grows with noncentrality: a cap that is far beyond every limit keeps SciPy quick.
        limit = float(chi2.isf(level, self.groups - 1))
        return float(ncx2.sf(limit, self.groups - 1, min(4 * shift**2 / self.widest, 9 * limit)))


def distance_between(
    new: Grouped, old: Grouped, *, alike: tuple[int, int] = (1, 1)
) -> Distance | None:
    """Returns the distance; None where noise hides the number of records or there is one group.

    Args:
      new: counts of the new study.
      old: of the earlier one, on the same groups.
      alike: most records of one unit in each.
    """
    hidden = any(one.total < _SEEN * one.total_std or one.total <= 0 for one in (new, old))
    if hidden or len(new.counts) < 2:
        return None
    pooled = np.maximum(new.counts + old.counts, 0.0)
    pooled = pooled / pooled.sum()
    apart = new.counts / new.total - old.counts / old.total
    covariance = sum(
        share_covariance(one, pooled, most) for one, most in zip((new, old), alike, strict=True)
    )
    mean, std = _folded(np.asarray(covariance))
    # Differences sum to zero: the last one is told by the others.
    kept, rest = np.asarray(covariance)[:-1, :-1], apart[:-1]
    evidence = float(rest @ np.linalg.pinv(kept, hermitian=True) @ rest)
    return Distance(
        value=float(np.abs(apart).sum()) / 2,
        by_chance=mean / 2,
        std_error=std / 2,
        p_value=float(chi2.sf(evidence, len(rest))),
        groups=len(apart),
        widest=_widest(np.asarray(covariance)),
    )


def share_covariance(counted: Grouped, shares: Array, alike: int) -> Array:
    """Returns the covariance (G, G) of a study's shares by noise and by sampling.

    Args:
      counted: the study's counts.
      shares: (G,) that its population has.
      alike: most records of one unit.
    """
    variances, total = counted.variances, counted.total
    outer = np.outer(shares, variances)
    noise = np.diag(variances) - outer - outer.T
    noise = noise + variances.sum() * np.outer(shares, shares)
    sampling = alike * (np.diag(shares) - np.outer(shares, shares))
    found: Array = noise / total**2 + sampling / total
    return found


def _folded(covariance: Array) -> tuple[float, float]:
    """Returns mean and standard deviation of the sum of |x|, x being normal around zero."""
    stds = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    scale = np.outer(stds, stds)
    part = np.divide(covariance, scale, out=np.zeros_like(scale), where=scale > 0)
    part = np.clip(part, -1.0, 1.0)
    together = np.sqrt(1.0 - part**2) + part * np.arcsin(part) - 1.0
    variance = 2.0 / math.pi * float((scale * together).sum())
    return math.sqrt(2.0 / math.pi) * float(stds.sum()), math.sqrt(max(variance, 0.0))


def _widest(covariance: Array) -> float:
    """Returns a bound on the largest s' C s over all signs s, as the module says."""
    found = len(covariance) * float(np.linalg.eigvalsh(covariance)[-1])
    stds = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    if (stds > 0).all():
        scaled = covariance / np.outer(stds, stds)
        found = min(found, float((stds**2).sum() * np.linalg.eigvalsh(scaled)[-1]))
    return found
