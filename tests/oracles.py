"""Closed forms that tests hold the code against; nothing here imports fedloom."""

from __future__ import annotations

import math

from scipy.optimize import brentq
from scipy.stats import norm

__all__ = ["gaussian_delta", "gaussian_epsilon"]


def gaussian_delta(mu: float, epsilon: float) -> float:
    """Exact delta of the Gaussian mechanism with sensitivity / sigma = mu.

    Source: Balle & Wang 2018 (arXiv:1805.06530), Theorem 8.
    """
    tail = norm.logcdf(-epsilon / mu - mu / 2)
    return float(norm.cdf(mu / 2 - epsilon / mu) - math.exp(epsilon + tail))


def gaussian_epsilon(mu: float, delta: float) -> float:
    """Exact epsilon of the Gaussian mechanism with sensitivity / sigma = mu, at `delta`."""
    if gaussian_delta(mu, 0.0) <= delta:
        return 0.0
    return float(brentq(lambda epsilon: gaussian_delta(mu, epsilon) - delta, 0.0, 500.0))
