"""Makes a mixture of products from noisy counts: no gradient of any record is needed.

The look gives each class's one-way marginals (`marginals.log_marginals`), the pairs what columns
have to do with each other (`mixture_fit`). Without pairs, or where noise hides all that they could
tell, the product of the marginals remains. All of this is post-processing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.common.artifact import Artifact
from fedloom.common.encoding import Encoding
from fedloom.common.marginals import NoisyMarginals, group_sizes
from fedloom.common.models.registry import MixtureSettings
from fedloom.privacy.phases import TrainingPhase
from fedloom.server.learners.class_marginals import class_prior, log_marginals
from fedloom.server.learners.devices import fitting_device
from fedloom.server.learners.learner import State, UntrainedLearner
from fedloom.server.learners.mixture_fit import MAX_STEPS, MixtureFit, Target

__all__ = ["MixtureLearner", "sampleable"]

Array = NDArray[Any]

_MIN_COMPONENTS = 64
# Floating-point operations of a whole fit: below a minute on two cores.
_COMPUTE_BUDGET = 8e11
# What a cell of a component costs in a step beside the product of groups: passes over memory, and
# sums over each of the blocks.
_PER_CELL, _PER_CELL_AND_BLOCK = 200.0, 8.0


class MixtureLearner(UntrainedLearner):
    """Learns a `mixture` from statistics alone; see `fedloom.server.learners.learner.Learner`."""

    def __init__(
        self,
        model: MixtureSettings,
        training: TrainingPhase | None,
        encoding: Encoding,
        *,
        num_sites: int = 1,
    ) -> None:
        """Takes the plan's model and the encoding; there is no training."""
        self._components = model.components
        self._encoding = encoding

    def initialise(self, statistics: NoisyMarginals, seed: int) -> State:
        """Fits the mixture; nothing remains for training rounds."""
        prior, start = class_prior(statistics), log_marginals(statistics)
        used = np.flatnonzero(prior > 0)
        if statistics.has_pairs:
            target = _target(statistics, start, prior)
            components = min(self._components, _affordable(target))
            fitted = MixtureFit(target, components, seed, fitting_device()).fit()
        else:
            fitted = np.exp(start[used])[:, None]
        probabilities = np.zeros((len(prior), *fitted.shape[1:]), dtype=np.float32)
        for label, rows in zip(used, fitted, strict=True):
            probabilities[label] = sampleable(rows, self._encoding)
        return State(arrays={"probabilities": probabilities, "class_prior": prior})

    def export(self, state: State) -> Artifact:
        """Returns the fitted mixture."""
        return Artifact(
            kind="mixture",
            config={"components": int(state.arrays["probabilities"].shape[1])},
            arrays=dict(state.arrays),
        )


def _affordable(target: Target) -> int:
    """Returns the number of components that the compute budget allows."""
    num_classes, num_groups = target.pairs.shape[:2]
    per_cell = _PER_CELL + _PER_CELL_AND_BLOCK * (int(target.blocks[-1]) + 1)
    per_component = 4.0 * num_groups**2 + per_cell * len(target.blocks)
    allowed = int(_COMPUTE_BUDGET / (per_component * num_classes * 2 * MAX_STEPS))
    return max(_MIN_COMPONENTS, allowed)


def _target(statistics: NoisyMarginals, start: Array, prior: Array) -> Target:
    encoding, groups = statistics.encoding, statistics.groups
    assert groups is not None and statistics.pair_std is not None
    used = np.flatnonzero(prior > 0)
    starts = np.cumsum([0, *group_sizes(encoding, groups)])
    blocks = np.repeat(
        np.arange(len(encoding.features)), [block.size for block in encoding.features]
    )
    return Target(
        pairs=np.stack([statistics.gram(int(label)) for label in used]),
        pair_std=statistics.pair_std,
        sizes=np.maximum(prior[used] * statistics.total(), 1.0),
        start=start[used],
        groups=groups + starts[:-1][blocks],
        blocks=blocks,
    )


def sampleable(probabilities: Array, encoding: Encoding) -> Array:
    """Removes cells that may not be synthesised; what is left of each block sums to one."""
    result = probabilities.astype(np.float64)
    for block in encoding.features:
        part = result[:, block.start : block.start + block.size]
        part *= np.asarray(block.sampleable, dtype=np.float64)
        total = part.sum(axis=1, keepdims=True)
        uniform = np.asarray(block.sampleable, dtype=np.float64) / sum(block.sampleable)
        part[:] = np.where(total > 0, part / np.maximum(total, 1e-300), uniform)
    return result
