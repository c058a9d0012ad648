"""The fit of a mixture of products to noisy pair counts, stopped where it would follow the noise.

Within class c the model's pair frequencies are J^T J / K, J (K, G) being the probabilities of all
groups of cells in each of K components. Logits are the class's log-marginals, plus a part that
all classes share, plus a smaller part of the class's own: what columns have to do with each other
is mostly the same in all classes, and a small class alone could not tell it from noise. Both are
moved along the gradient of the squared error, which under Gaussian noise is the likelihood's.

How far to go is asked of the noisy counts themselves. Adding noise once and subtracting it once,
in proportions that make the two results independent, gives a table to fit and a table to judge by;
the number of steps at which the judge is best is then taken on the counts as they are.

Source: marginals matched through a relaxed table, Aydore et al. 2021 (arXiv:2103.06641) and Liu,
Vietri & Wu 2021 (arXiv:2106.07153); thinning of Gaussian data, Oliveira, Lei & Tibshirani 2021
(arXiv:2111.09447) and Neufeld et al. 2024 (arXiv:2301.07276). All of it is post-processing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["MAX_STEPS", "MixtureFit", "Target", "thinned"]

Array = NDArray[Any]

_LEARNING_RATE = 0.03
# The class's own part moves this much more slowly than the shared one.
_OWN = 0.3
_JITTER = 0.3
_BETAS = (0.9, 0.999)
MAX_STEPS = 400
# Classes below this part of the largest one are left out where noise hides them.
_LEAST = 0.05
# Variance of the added noise, in units of the counts' own.
_THINNING = 0.3
# Steps are judged ever more rarely, and no longer once the best is this far behind.
_SPACING, _PATIENCE, _MIN_PATIENCE = 1.15, 2.0, 30
# The last part of the steps is taken at a falling rate.
_FALLING = 0.3


@dataclass(frozen=True, kw_only=True)
class Target:
    """What the components are fitted to.

    Attributes:
      pairs: (C, G, G) noisy pair counts of groups, zero within blocks.
      pair_std: standard deviation of their noise.
      sizes: (C,) records of each class, at least 1.
      start: (C, D) log-marginals of all cells.
      groups: (D,) group of each cell, counted over all blocks.
      blocks: (D,) block of each cell.
    """

    pairs: Array
    pair_std: float
    sizes: Array
    start: Array
    groups: Array
    blocks: Array


@dataclass
class _Moments:
    """Adam's moments; the second is shared by all components, so that noise gets no larger step."""

    first: Tensor
    second: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.second = torch.zeros(self.first.shape[1], device=self.first.device)

    def move(self, values: Tensor, gradient: Tensor, rate: float, step: int) -> None:
        self.first.mul_(_BETAS[0]).add_(gradient, alpha=1.0 - _BETAS[0])
        mean_square = torch.linalg.vector_norm(gradient, dim=0).square_() / len(gradient)
        self.second.mul_(_BETAS[1]).add_(mean_square, alpha=1.0 - _BETAS[1])
        scale = (self.second / (1.0 - _BETAS[1] ** step)).sqrt_().add_(1e-12)
        values.addcdiv_(
            self.first, scale.expand_as(values), value=-rate / (1.0 - _BETAS[0] ** step)
        )


class MixtureFit:
    """Fits components to a `Target`; deterministic for a seed, on one device."""

    def __init__(
        self, target: Target, components: int, seed: int, device: torch.device | str = "cpu"
    ) -> None:
        """Places the target on the device and draws where the components start."""
        self._target, self._seed, self._device = target, seed, device
        self._classes = range(len(target.sizes))
        # What a class far below the largest, and below one cell's noise, says is noise.
        least = min(target.pair_std, _LEAST * float(target.sizes.max()))
        self._telling = [c for c in self._classes if target.sizes[c] > least]
        self._weights = [float(size / target.sizes.sum()) ** 2 for size in target.sizes]
        self._groups = torch.from_numpy(target.groups.astype(np.int64)).to(device)
        blocks = torch.from_numpy(target.blocks.astype(np.int64)).to(device)
        self._members = torch.nn.functional.one_hot(blocks).float()
        of_group = torch.zeros(target.pairs.shape[1], dtype=torch.int64, device=device)
        of_group[self._groups] = blocks
        self._across = (of_group[:, None] != of_group[None, :]).float()
        self._start = self._tensor(target.start)
        rng = torch.Generator().manual_seed(seed)
        jitter = torch.randn(components, len(target.groups), generator=rng)
        self._jitter = _JITTER * jitter.to(device)

    def fit(self) -> Array:
        """Returns the probabilities (C, K, D) of all cells in each component of each class."""
        steps, own_steps = self._best_steps()
        last = math.ceil(steps / (1.0 - _FALLING / 2))
        shares = self._shares(self._target.pairs)
        logits = self._begin()
        for step in range(1, last + 1):
            rate = _LEARNING_RATE * min(1.0, (last - step + 0.5) / max(_FALLING * last, 1.0))
            moving = [step <= math.ceil(own * last / max(steps, 1)) for own in own_steps]
            self._step(logits, shares, rate, step, moving)
        return np.stack([self._probabilities(logits, c).cpu().numpy() for c in self._classes])

    def _best_steps(self) -> tuple[int, list[int]]:
        """Returns how many steps the shared part should take, and each class's own part."""
        target = self._target
        noise = np.random.default_rng(self._seed).normal(0.0, target.pair_std, target.pairs.shape)
        noise = np.triu(noise, 1)
        noise = (noise + noise.transpose(0, 2, 1)) * self._across.cpu().numpy()
        fitted, judging = thinned(target.pairs, noise)
        shares, judge = self._shares(fitted), self._shares(judging)
        logits = self._begin()
        looks = [0]
        losses = [self._losses(logits, judge)]
        for step in range(1, MAX_STEPS + 1):
            self._step(logits, shares, _LEARNING_RATE, step, [True] * len(target.sizes))
            if step >= math.ceil(looks[-1] * _SPACING) or step == MAX_STEPS:
                looks.append(step)
                losses.append(self._losses(logits, judge))
                best = looks[int(np.argmin(np.sum(losses, axis=1)))]
                if step > max(_PATIENCE * best, best + _MIN_PATIENCE):
                    break
        best = looks[int(np.argmin(np.sum(losses, axis=1)))]
        own = [looks[int(i)] for i in np.argmin(np.array(losses), axis=0)]
        return best, [min(best, steps) for steps in own]

    def _begin(self) -> tuple[Tensor, list[Tensor], list[_Moments]]:
        own = [torch.zeros_like(self._jitter) for _ in self._classes]
        moments = [_Moments(torch.zeros_like(self._jitter)) for _ in range(len(own) + 1)]
        return self._jitter.clone(), own, moments

    def _step(
        self,
        state: tuple[Tensor, list[Tensor], list[_Moments]],
        shares: list[Tensor],
        rate: float,
        step: int,
        moving: list[bool],
    ) -> None:
        """Moves the shared part, and the own parts of those classes that still move."""
        shared, own, moments = state
        together = torch.zeros_like(shared)
        for c in self._telling:
            gradient = self._gradient(self._probabilities(state, c), shares[c], c)
            together.add_(gradient, alpha=self._weights[c])
            if moving[c]:
                moments[c + 1].move(own[c], gradient, rate * _OWN, step)
        moments[0].move(shared, together, rate, step)

    def _gradient(self, probabilities: Tensor, shares: Tensor, label: int) -> Tensor:
        """Gradient by the logits, times K, of half the squared error of pairs and one-way terms."""
        joined, frequencies = self._pairs(probabilities)
        by_cell = (joined @ (frequencies - shares))[:, self._groups]
        by_cell += probabilities.mean(dim=0) - self._start[label].exp()
        weighted = probabilities * by_cell
        return weighted - probabilities * (weighted @ self._members @ self._members.T)

    def _pairs(self, probabilities: Tensor) -> tuple[Tensor, Tensor]:
        """Returns probabilities of groups (K, G), and the model's pair frequencies (G, G)."""
        joined = probabilities.new_zeros(len(probabilities), len(self._across))
        joined.index_add_(1, self._groups, probabilities)
        return joined, joined.T @ joined / len(joined) * self._across

    def _losses(
        self, state: tuple[Tensor, list[Tensor], list[_Moments]], judge: list[Tensor]
    ) -> list[float]:
        """Returns each class's squared error, up to a constant; 0 if it tells nothing."""
        losses = [0.0] * len(self._classes)
        for c in self._telling:
            frequencies = self._pairs(self._probabilities(state, c))[1]
            loss = (frequencies * (frequencies - 2.0 * judge[c])).sum(dtype=torch.float64)
            losses[c] = float(loss) * float(self._target.sizes[c]) ** 2
        return losses

    def _probabilities(
        self, state: tuple[Tensor, list[Tensor], list[_Moments]], label: int
    ) -> Tensor:
        """Softmax within each block."""
        logits = self._start[label] + state[0] + state[1][label]
        weights = torch.exp(logits - logits.max(dim=1, keepdim=True).values)
        return weights / (weights @ self._members @ self._members.T + 1e-30)

    def _shares(self, pairs: Array) -> list[Tensor]:
        return [self._tensor(pairs[c] / self._target.sizes[c]) for c in self._classes]

    def _tensor(self, values: Array) -> Tensor:
        return torch.from_numpy(values.astype(np.float32)).to(self._device)


def thinned(values: Array, noise: Array) -> tuple[Array, Array]:
    """Splits noisy values in two whose noise is independent; both have the true values as mean.

    Args:
      values: true values plus independent Gaussian noise.
      noise: fresh Gaussian noise of the same standard deviation.
    """
    root = math.sqrt(_THINNING)
    return values + root * noise, values - noise / root
