"""Candidates that records vote for, and what is made of the votes; all of it post-processing.

The first half of the candidates of each class and round is drawn from the mixture that the sums
give. The second half are images of a simulator or, without one, of the mixture too; in later rounds
they are those of them that had votes before, varied where there are several copies, or beside
fresh ones if nothing is varied (private evolution, Lin et al. 2024). So the votes of a round say
two things: which part of a class is nearer to images of the second half than to the mixture, and to
which of them. Both are believed as far as noise allows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.common.images.generator import ImageGenerator
from fedloom.common.images.warps import warped
from fedloom.server.images.simulators import Simulator, simulated

__all__ = [
    "chosen",
    "first_candidates",
    "next_candidates",
    "parts_of",
    "shares_of",
    "voted_arrays",
]

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
    mixture: ImageGenerator, before: Array, votes: Array, std: float, *, warp: float, seed: int
) -> Array:
    """Returns the candidates of a later round.

    Args:
      mixture: what the sums gave.
      before: (C, K, height, width, channels) uint8, candidates of the round before.
      votes: (C, K) noisy, for them.
      std: of their noise.
      warp: strength of the variation; 0 replaces further copies by images of the mixture.
      seed: of all draws.
    """
    rng = np.random.default_rng(seed)
    classes, count = before.shape[:2]
    found = _of_mixture(mixture, classes, count, rng)
    for label in range(classes):
        images = before[label, count // 2 :]
        taken = chosen(shares_of(votes[label, count // 2 :], std), len(images), rng)
        # The first copy of each stays as it was; a second that is the same would have no votes.
        again = np.concatenate([[False], taken[1:] == taken[:-1]])
        places = count // 2 + np.arange(len(images))
        found[label, places[~again]] = images[taken[~again]]
        if warp > 0.0:
            found[label, places[again]] = _varied(images[taken[again]], warp, rng)
    return found


def shares_of(votes: Array, std: float) -> Array:
    """Returns noisy counts as shares: believed as far as noise asks, none negative.

    Counts are drawn towards their mean (James and Stein 1961), so that noise alone chooses nobody.
    Those below nothing are then cut, and what that adds is taken from all others alike.

    Args:
      votes: (K,) noisy counts.
      std: of their noise.

    Returns:
      (K,) shares; all alike if the counts have no positive sum.

    >>> shares_of(np.array([5.0, -1.0, 1.0]), 0.0).tolist()
    [0.9, 0.0, 0.1]
    """
    total = float(votes.sum())
    if total <= 0.0:
        return np.full(len(votes), 1.0 / len(votes))
    middle = total / len(votes)
    drawn = middle + _believed(votes - middle, std) * (votes - middle)
    ordered = np.sort(drawn)[::-1]
    excess = (np.cumsum(ordered) - total) / np.arange(1, len(ordered) + 1)
    cut = excess[np.flatnonzero(ordered > excess)[-1]]
    kept = np.maximum(drawn - max(cut, 0.0), 0.0)
    found: Array = kept / kept.sum()
    return found


def parts_of(votes: Array, std: float) -> Array:
    """Returns which part of each class is nearer to candidates of the second half, (C,).

    All classes together tell it first: a part below 0 cannot be, so in each class alone noise would
    add what it cannot take away. Of it, p^2 / (p^2 + noise^2) is believed. Classes differ from that
    as far as their noise lets one believe.

    Args:
      votes: (C, K) noisy counts.
      std: of their noise.
    """
    count = votes.shape[1]
    half = count // 2
    beside, total = votes[:, half:].sum(axis=1), np.maximum(votes.sum(axis=1), 1.0)
    whole = float(total.sum())
    part = float(np.clip(beside.sum() / whole, 0.0, 1.0))
    noise = std * math.sqrt(half * part**2 + (count - half) * (1.0 - part) ** 2)
    scale = _believed(beside - part * total, noise)
    of_whole = noise * math.sqrt(len(votes)) / whole
    believed = part**3 / max(part**2 + of_whole**2, 1e-300)
    found: Array = np.clip(believed + scale * (beside / total - part), 0.0, 1.0)
    return found


def _believed(apart: Array, std: float) -> float:
    """Returns how far noisy differences (n,) are believed, from 0 to 1."""
    squares = float((apart**2).sum())
    return max(0.0, 1.0 - len(apart) * std**2 / squares) if squares > 0.0 else 0.0


def chosen(shares: Array, count: int, rng: np.random.Generator) -> Array:
    """Returns which candidates come, (count,) rising: each as often as its share says, to one."""
    steps = (rng.random() + np.arange(count)) / count
    found: Array = np.minimum(np.searchsorted(np.cumsum(shares), steps), len(shares) - 1)
    return found


def voted_arrays(candidates: Array, votes: Array, std: float, warp: float) -> dict[str, Array]:
    """Returns what the last round's votes give a generator; see `fedloom.common.images.voted`.

    Args:
      candidates: (C, K, height, width, channels) uint8.
      votes: (C, K) noisy.
      std: of their noise.
      warp: strength of the variation.
    """
    half = candidates.shape[1] // 2
    shares = np.stack([shares_of(own[half:], std) for own in votes])
    weights = parts_of(votes, std)[:, None] * shares
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
