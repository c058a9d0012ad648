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

Sources: Wald 1943 for the test; Leone, Nelson & Nottingham 1961 for the folded normal; the mean of
|x y| of two normals is Nabeya 1951. Post-processing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

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
    """

    value: float
    by_chance: float
    std_error: float
    p_value: float
    groups: int


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
