"""Fits a mixture of products to noisy pair counts: no gradient of any record is needed.

Within a class, the model's pair frequencies are P^T P / K, with P (K, D) the probabilities of
all codes in each of K components. P is fitted by least squares to the noisy counts of the
class, off-diagonal blocks and one-way counts, by Adam under a falling learning rate.

A fit that runs to its end follows the noise, so the number of steps grows with the ratio of
signal to noise in the answer itself: where noise prevails the components stay near their start,
the product of the class's one-way marginals, which small classes borrow from all. All of this
is post-processing.

Source: marginals matched through a relaxed table, as in Aydore et al. 2021 (arXiv:2103.06641)
and Liu, Vietri & Wu 2021 (arXiv:2106.07153); early stopping in place of a penalty is ours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedloom.common.artifact import Artifact
from fedloom.common.encoding import Encoding
from fedloom.common.statistics import NoisyStatistics, group_sizes
from fedloom.server.learners.base import State
from fedloom.server.learners.marginals import class_prior, log_marginals

__all__ = ["MixtureLearner"]

Array = NDArray[Any]

_LEARNING_RATE = 0.1
_JITTER = 0.3
_BETAS = (0.9, 0.999)
_MIN_STEPS, _MAX_STEPS = 40, 400
# Steps at equal energy of signal and noise; they grow with the square root of the ratio.
_STEPS_AT_PAR = 60
_MIN_COMPONENTS = 64
# Floating-point operations of a whole fit: about a minute on two cores.
_COMPUTE_BUDGET = 2.5e12


@dataclass(frozen=True, kw_only=True)
class _Target:
    """What the components of one class are fitted to, as frequencies.

    Attributes:
      pairs: (G, G) on groups of cells, zero within blocks.
      groups: (D,) the group of each cell, counted over all blocks.
      start: (D,) logarithms of one-way frequencies, without noise where that can be told.
      one_way: (D,) as measured.
      signal_to_noise: energy of the signal in `pairs` over that of the noise.
    """

    pairs: Array
    groups: Array
    start: Array
    one_way: Array
    signal_to_noise: float


class MixtureLearner:
    """Learns a `mixture` from statistics alone; see `fedloom.server.learners.base.Learner`."""

    def __init__(self, model: Mapping[str, Any], encoding: Encoding) -> None:
        """Takes the plan's model settings (`components`) and the encoding."""
        self._components = int(model["components"])
        self._encoding = encoding

    def start(self, statistics: NoisyStatistics, seed: int) -> State:
        """Fits the mixture; nothing remains for training rounds."""
        prior = class_prior(statistics)
        probabilities = np.zeros(
            (len(prior), self._affordable(prior), self._encoding.width), dtype=np.float32
        )
        starts, one_way = log_marginals(statistics), _one_way(statistics)
        for label in np.flatnonzero(prior > 0):
            target = _target(statistics, int(label), starts[label], one_way[label])
            rng = torch.Generator().manual_seed(seed + int(label))
            fitted = _fit(target, self._encoding, probabilities.shape[1], rng)
            probabilities[label] = _sampleable(fitted, self._encoding)
        return State(arrays={"probabilities": probabilities, "class_prior": prior})

    def request_arrays(self, state: State) -> dict[str, NDArray[np.float32]]:
        """Returns nothing: there are no training rounds."""
        return {}

    def answer_shapes(self) -> dict[str, tuple[int, ...]]:
        """Returns nothing: there are no training rounds."""
        return {}

    def absorb(
        self, state: State, aggregate: dict[str, Array], normaliser: float, seed: int
    ) -> State:
        """Returns the state unchanged: there are no training rounds."""
        return state

    def publish(self, state: State) -> Artifact:
        """Returns the fitted mixture."""
        return Artifact(
            kind="mixture",
            config={"components": int(state.arrays["probabilities"].shape[1])},
            arrays=dict(state.arrays),
        )

    def _affordable(self, prior: Array) -> int:
        """Returns the number of components that the compute budget allows for a wide table."""
        per_component = 4.0 * self._encoding.width**2 * int((prior > 0).sum()) * _MAX_STEPS
        allowed = int(_COMPUTE_BUDGET / per_component)
        return min(self._components, max(_MIN_COMPONENTS, allowed))


def _one_way(statistics: NoisyStatistics) -> Array:
    """Returns estimated one-way frequencies of each class, (C, D)."""
    sizes = np.maximum(statistics.class_counts(), 1.0)
    rows = [np.concatenate(statistics.one_way(label)) for label in range(len(sizes))]
    frequencies: Array = np.stack(rows) / sizes[:, None]
    return frequencies


def _target(statistics: NoisyStatistics, label: int, start: Array, one_way: Array) -> _Target:
    encoding = statistics.encoding
    counts, groups = statistics.gram(label), np.asarray(statistics.groups, dtype=np.int64)
    sizes = group_sizes(encoding, groups)
    starts = np.cumsum([0, *sizes])
    num_cells = sum(sizes) ** 2 - sum(size**2 for size in sizes)
    noise = num_cells * (statistics.pair_std or 0.0) ** 2
    return _Target(
        pairs=counts / max(float(statistics.class_counts()[label]), 1.0),
        groups=groups + np.repeat(starts[:-1], [block.size for block in encoding.features]),
        start=start,
        one_way=one_way,
        signal_to_noise=float(np.square(counts).sum()) / noise - 1.0 if noise > 0 else math.inf,
    )


def _steps(signal_to_noise: float) -> int:
    wanted = _STEPS_AT_PAR * math.sqrt(min(max(signal_to_noise, 0.0), 1e6))
    return int(min(max(wanted, _MIN_STEPS), _MAX_STEPS))


def _fit(target: _Target, encoding: Encoding, components: int, rng: torch.Generator) -> Array:
    """Returns the probabilities (K, D) of a class's components."""
    pairs = torch.from_numpy(target.pairs.astype(np.float32))
    one_way = torch.from_numpy(target.one_way.astype(np.float32))
    start = torch.from_numpy(target.start.astype(np.float32))
    groups = torch.from_numpy(target.groups)
    members = torch.zeros(encoding.width, len(encoding.features))
    group_members = torch.zeros(len(pairs), len(encoding.features))
    for position, block in enumerate(encoding.features):
        members[block.start : block.start + block.size, position] = 1.0
        group_members[groups[block.start : block.start + block.size], position] = 1.0
    across = 1.0 - group_members @ group_members.T
    logits = start + _JITTER * torch.randn(components, encoding.width, generator=rng)
    first, second = torch.zeros_like(logits), torch.zeros_like(logits)
    num_steps = _steps(target.signal_to_noise)
    for step in range(num_steps):
        rate = _LEARNING_RATE * 0.5 * (1.0 + math.cos(math.pi * step / num_steps))
        gradient = _gradient(_softmax(logits, members), pairs, groups, across, one_way, members)
        _adam(logits, gradient, first, second, step + 1, rate)
    probabilities: Array = _softmax(logits, members).numpy()
    return probabilities


def _softmax(logits: Tensor, members: Tensor) -> Tensor:
    """Softmax within each block; `members` (D, m) tells the block of each cell."""
    weights = torch.exp(logits - logits.max(dim=1, keepdim=True).values)
    return weights / (weights @ members @ members.T + 1e-30)


def _gradient(
    probabilities: Tensor,
    pairs: Tensor,
    groups: Tensor,
    across: Tensor,
    one_way: Tensor,
    members: Tensor,
) -> Tensor:
    """Gradient by the logits, times K, of half the squared error of pairs and one-way terms.

    `across` (G, G) is 1 between groups of two blocks and 0 within a block.
    """
    joined = torch.zeros(len(probabilities), len(pairs), dtype=probabilities.dtype)
    joined.index_add_(1, groups, probabilities)
    residual = (joined.T @ joined / len(joined) - pairs) * across
    by_probability = (joined @ residual)[:, groups] + (probabilities.mean(dim=0) - one_way)
    weighted = probabilities * by_probability
    return weighted - probabilities * (weighted @ members @ members.T)


def _adam(
    values: Tensor, gradient: Tensor, first: Tensor, second: Tensor, step: int, rate: float
) -> None:
    first.mul_(_BETAS[0]).add_(gradient, alpha=1.0 - _BETAS[0])
    second.mul_(_BETAS[1]).addcmul_(gradient, gradient, value=1.0 - _BETAS[1])
    scale = (second / (1.0 - _BETAS[1] ** step)).sqrt_().add_(1e-12)
    values.addcdiv_(first, scale, value=-rate / (1.0 - _BETAS[0] ** step))


def _sampleable(probabilities: Array, encoding: Encoding) -> Array:
    """Removes cells that may not be synthesised; what is left of each block sums to one."""
    result = probabilities.astype(np.float64)
    for block in encoding.features:
        part = result[:, block.start : block.start + block.size]
        part *= np.asarray(block.sampleable, dtype=np.float64)
        total = part.sum(axis=1, keepdims=True)
        uniform = np.asarray(block.sampleable, dtype=np.float64) / sum(block.sampleable)
        part[:] = np.where(total > 0, part / np.maximum(total, 1e-300), uniform)
    return result
