"""Candidates that records vote for, and what is made of the votes; all of it post-processing.

The first half of the candidates of each class and round is drawn from the mixture that the sums
give. The second half are images of a simulator or, without one, varied images of the mixture; in
later rounds they are varied copies of those of them that had votes before (private evolution, Lin
et al. 2024). So the votes of a round say two things: which part of a class is nearer to images
of the second half than to the mixture, and to which of them. Noisy counts below nothing are cut,
and what that adds is taken from all others alike, so that their sum stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.common.images.generator import ImageGenerator
from fedloom.common.images.warps import warped
from fedloom.server.images.simulators import Simulator, simulated

__all__ = ["chosen", "first_candidates", "next_candidates", "shares_of", "voted_arrays"]

Array = NDArray[Any]


def first_candidates(
    mixture: ImageGenerator,
    labels: Sequence[str],
    count: int,
    *,
    simulator: Simulator | None,
    warp: float,
    seed: int,
) -> Array:
    """Returns the candidates of the first round, (C, count, height, width, channels) uint8.

    Args:
      mixture: what the sums gave.
      labels: (C,) texts of the classes.
      count: of candidates in a class, at least 2.
      simulator: draws the second half; classes that it does not know have varied images.
      warp: strength of the variation.
      seed: of all draws.
    """
    rng = np.random.default_rng(seed)
    drawn = _of_mixture(mixture, len(labels), count, rng)
    for label, text in enumerate(labels):
        rest = drawn[label, count // 2 :]
        made = None
        if simulator is not None:
            own = int(rng.integers(2**31))
            made = simulated(simulator, text, len(rest), mixture.shape, own)
        drawn[label, count // 2 :] = _varied(rest, warp, rng) if made is None else made
    return drawn


def next_candidates(
    mixture: ImageGenerator, before: Array, votes: Array, *, warp: float, seed: int
) -> Array:
    """Returns the candidates of a later round.

    Args:
      mixture: what the sums gave.
      before: (C, K, height, width, channels) uint8, candidates of the round before.
      votes: (C, K) noisy, for them.
      warp: strength of the variation.
      seed: of all draws.
    """
    rng = np.random.default_rng(seed)
    classes, count = before.shape[:2]
    found = _of_mixture(mixture, classes, count, rng)
    for label in range(classes):
        images = before[label, count // 2 :]
        taken = chosen(shares_of(votes[label, count // 2 :]), len(images), rng)
        copies = images[taken]
        # The first copy of each stays as it was.
        again = np.concatenate([[False], taken[1:] == taken[:-1]])
        copies[again] = _varied(copies[again], warp, rng)
        found[label, count // 2 :] = copies
    return found


def shares_of(votes: Array) -> Array:
    """Returns noisy counts (K,) as shares: none negative, their sum kept; alike if it is not > 0.

    >>> shares_of(np.array([5.0, -1.0, 1.0])).tolist()
    [0.9, 0.0, 0.1]
    """
    total = float(votes.sum())
    if total <= 0.0:
        return np.full(len(votes), 1.0 / len(votes))
    ordered = np.sort(votes)[::-1]
    excess = (np.cumsum(ordered) - total) / np.arange(1, len(ordered) + 1)
    cut = excess[np.flatnonzero(ordered > excess)[-1]]
    kept = np.maximum(votes - max(cut, 0.0), 0.0)
    found: Array = kept / kept.sum()
    return found


def chosen(shares: Array, count: int, rng: np.random.Generator) -> Array:
    """Returns which candidates come, (count,) rising: each as often as its share says, to one."""
    steps = (rng.random() + np.arange(count)) / count
    found: Array = np.minimum(np.searchsorted(np.cumsum(shares), steps), len(shares) - 1)
    return found


def voted_arrays(candidates: Array, votes: Array, warp: float) -> dict[str, Array]:
    """Returns what the last round's votes give a generator; see `fedloom.common.images.voted`.

    Args:
      candidates: (C, K, height, width, channels) uint8.
      votes: (C, K) noisy.
      warp: strength of the variation.
    """
    half = candidates.shape[1] // 2
    total = votes.sum(axis=1)
    told = np.where(total > 0.0, votes[:, half:].sum(axis=1) / np.maximum(total, 1e-9), 0.0)
    weights = np.clip(told, 0.0, 1.0)[:, None] * np.stack([shares_of(own[half:]) for own in votes])
    return {
        "voted_images": (candidates[:, half:] / 255.0).astype(np.float32),
        "voted_weights": weights.astype(np.float32),
        "warp": np.array([warp], np.float32),
    }


def _of_mixture(
    mixture: ImageGenerator, classes: int, count: int, rng: np.random.Generator
) -> Array:
    drawn = mixture.draw(np.repeat(np.arange(classes), count), rng)
    found: Array = drawn.reshape(classes, count, *drawn.shape[1:])
    return found


def _varied(images: Array, warp: float, rng: np.random.Generator) -> Array:
    found: Array = np.rint(np.clip(warped(images, rng, warp), 0.0, 255.0)).astype(np.uint8)
    return found
