"""Fits a generator's network to pair tables: marginal matching, no gradient of any record.

Given latents, a record's columns are independent, so the pair frequencies that a generator would
show are the mean over latents of products of its probabilities. The network and the table are
moved until those, and the one-way frequencies, are the wanted ones; errors are weighed as counts,
because noise on counts is the same for all classes. Each step takes two halves of fresh latents
and multiplies their residuals: the expectation of that is the squared error of the generator
itself, without the latents' own variance, which would favour records that are all alike.

Source: generator networks fitted to noisy marginals, Liu, Vietri & Wu 2021 (arXiv:2106.07153).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedloom.common.models.blocks import Blocks
from fedloom.common.models.decoder import DecoderNet
from fedloom.server.learners.devices import fitting

__all__ = ["PairTables", "fit_to_pairs"]

_LATENTS = 1024
_MIN_LATENTS = 128
# How much a squared error of a one-way count weighs beside one of a pair.
_ONE_WAY = 3.0
_BETAS = (0.9, 0.99)


@dataclass(frozen=True, kw_only=True)
class PairTables:
    """What a generator should show; C classes, G groups of cells, D cells.

    Attributes:
      pairs: (C, G, G) wanted pair frequencies.
      cells: (D,) the group of each cell, counted over all blocks.
      log_marginals: (C, D) wanted one-way frequencies, as logarithms.
      sizes: (C,) records of each class; 0 leaves a class out.
    """

    pairs: NDArray[np.float32]
    cells: NDArray[np.int64]
    log_marginals: NDArray[np.float32]
    sizes: NDArray[np.float64]


def fit_to_pairs(
    net: DecoderNet,
    table: Tensor,
    tables: PairTables,
    blocks: Blocks,
    *,
    steps: int,
    learning_rate: float,
    seed: int,
    falling: bool = True,
) -> float:
    """Fits the network in place; the table that went with it is the caller's to match anew.

    Args:
      net: the generator's network.
      table: (C, D) its table, from which the fit starts.
      tables: what is wanted.
      blocks: layout of the cells.
      steps: number of Adam steps.
      learning_rate: their size at first.
      seed: for the latents.
      falling: whether the steps get smaller to the end.

    Returns:
      Root mean squared error of the last step's pair frequencies, over all cells and classes.
    """
    rng = torch.Generator().manual_seed(seed)
    wanted = _Wanted(tables, blocks)
    with fitting(net) as device:
        wanted.to(device)
        moving = table.detach().to(device).clone().requires_grad_(True)
        optimiser = torch.optim.Adam([*net.parameters(), moving], lr=learning_rate, betas=_BETAS)
        error = 0.0
        for step in range(steps):
            if falling:
                rate = learning_rate * 0.5 * (1.0 + math.cos(math.pi * step / steps))
                optimiser.param_groups[0]["lr"] = rate
            loss, error = wanted.loss(net, moving, blocks, rng)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return error


class _Wanted:
    """The targets as tensors, and the loss of a generator against them."""

    def __init__(self, tables: PairTables, blocks: Blocks) -> None:
        groups = tables.pairs.shape[1]
        block = np.repeat(np.arange(len(blocks.sizes)), blocks.sizes)
        of_group = np.zeros(groups, dtype=np.int64)
        of_group[tables.cells] = block
        self.labels = [int(label) for label in np.flatnonzero(tables.sizes > 0)]
        self.pairs = torch.from_numpy(np.array(tables.pairs))
        self.across = torch.from_numpy(of_group[:, None] != of_group[None, :]).float()
        self.cells = torch.from_numpy(np.array(tables.cells))
        one_way = torch.from_numpy(np.array(tables.log_marginals, dtype=np.float32)).exp()
        self.one_way = torch.zeros(len(one_way), groups).index_add_(1, self.cells, one_way)
        weights = np.square(tables.sizes / max(float(tables.sizes.sum()), 1.0))
        self.weights = torch.from_numpy((weights / max(weights.sum(), 1e-12)).astype(np.float32))
        latents = max(_MIN_LATENTS, 2 * _LATENTS // max(len(self.labels), 2))
        self.quarter = latents // 4

    def to(self, device: torch.device) -> None:
        for name in ("pairs", "across", "cells", "one_way", "weights"):
            setattr(self, name, getattr(self, name).to(device))

    def loss(
        self, net: DecoderNet, table: Tensor, blocks: Blocks, rng: torch.Generator
    ) -> tuple[Tensor, float]:
        """Returns the weighted loss, and the root mean squared error of the pairs."""
        total, squared = torch.zeros((), device=table.device), 0.0
        count = float(self.across.sum()) * len(self.labels)
        for label in self.labels:
            draws = torch.randn(2, self.quarter, net.latent, generator=rng).to(table.device)
            # Each half with its mirror image: less variance, the same distribution.
            latent = torch.cat([draws, -draws], dim=1).reshape(-1, net.latent)
            classes = torch.zeros(len(latent), len(table), device=table.device)
            classes[:, label] = 1.0
            shares = blocks.log_softmax(table[label] + net(latent, classes)).exp()
            joined = torch.zeros(len(latent), len(self.across), device=table.device)
            joined = joined.index_add(1, self.cells, shares)
            half = len(latent) // 2
            first, second = (
                (part.T @ part / half - self.pairs[label]) * self.across
                for part in (joined[:half], joined[half:])
            )
            pairs = (first * second).sum()
            one_way = (joined.mean(0) - self.one_way[label]).square().sum()
            total = total + self.weights[label] * (pairs / 2 + _ONE_WAY * one_way)
            squared += float(pairs.detach())
        # Adam does not see the scale; a round number keeps its denominator away from zero.
        return total * 1e4, math.sqrt(max(squared, 0.0) / max(count, 1.0))
