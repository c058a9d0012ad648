"""The generator's steps of the GAN, on the noised critic alone.

A critic that tells records from fakes has, at its best, the log-ratio of their densities as its
score. So records of the old generator, weighted by exp(score), are spread like real records, and
the new generator is fitted to them by maximum likelihood. Unlike climbing the critic's scores,
this has its optimum at the records' distribution and not at the critic's favourite record, so a
generator cannot collapse, even in many steps against one critic.

The generator's likelihood is a mixture over latents of products of softmaxes; with K latents
one matrix product gives all of them.

Source: Che et al. 2017 (arXiv:1702.07983), maximum-likelihood augmented discrete GANs.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedloom.common.models.blocks import Blocks
from fedloom.common.models.decoder import DecoderNet, class_rows
from fedloom.common.models.draws import SeededDraws
from fedloom.common.models.gan import Critic
from fedloom.server.learners.devices import fitting

__all__ = ["fit_generator"]

_POOL = 8192
_BATCH = 2048
_LATENTS = 512
_MIN_LATENTS = 32
_MAX_WEIGHT = 10.0


def fit_generator(
    net: DecoderNet,
    table: Tensor,
    critic: Critic,
    log_marginals: Tensor,
    class_prior: NDArray[np.float64],
    blocks: Blocks,
    *,
    steps: int,
    learning_rate: float,
    trust: float,
    seed: int,
) -> float:
    """Fits the network in place to its own records, weighted by the critic.

    Args:
      net: the generator's network.
      table: (C, D) its table.
      critic: the critic of this round.
      log_marginals: (C, D) noisy marginals, from which the critic sees deviations.
      class_prior: (C,) probability of each class, from the noisy counts.
      blocks: layout of the cells.
      steps: number of Adam steps.
      learning_rate: their size.
      trust: in (0, 1], tempers the critic's scores.
      seed: for everything that is drawn.

    Returns:
      The effective share of the weighted records, in (0, 1]: near 1 where the critic cannot
      tell fakes from records.
    """
    draws, rng = SeededDraws(seed), torch.Generator().manual_seed(seed + 1)
    numpy_rng = np.random.default_rng(seed)
    num_classes = len(table)
    classes = np.sort(numpy_rng.choice(num_classes, size=_POOL, p=class_prior))
    labels = torch.from_numpy(classes)
    with torch.no_grad():
        latent = draws.normal(_POOL, net.latent)
        codes = blocks.sample(table[labels] + net(latent, class_rows(classes, num_classes)), draws)
        records = blocks.one_hot(codes.numpy())
        deviation = blocks.deviation(records, log_marginals[labels])
        scores = trust * critic(deviation, class_rows(classes, num_classes))
    weights = _weights(scores, labels, num_classes)
    with fitting(net) as device:
        pool = tuple(value.to(device) for value in (table, records, labels, weights))
        optimiser = torch.optim.Adam(net.parameters(), lr=learning_rate, betas=(0.9, 0.99))
        for _ in range(steps):
            chosen = torch.randint(_POOL, (_BATCH,), generator=rng).sort().values.to(device)
            loss = -_log_likelihood(net, blocks, pool, chosen, rng)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return float(weights.sum() ** 2 / weights.square().sum() / _POOL)


def _weights(scores: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Returns exp(scores), capped and with mean 1 within each class: the prior stays."""
    weights = torch.zeros_like(scores)
    for label in range(num_classes):
        members = labels == label
        if bool(members.any()):
            share = torch.softmax(scores[members], dim=0) * members.sum()
            share = share.clamp(max=_MAX_WEIGHT)
            weights[members] = share / share.mean()
    return weights


def _log_likelihood(
    net: DecoderNet,
    blocks: Blocks,
    pool: tuple[Tensor, ...],
    chosen: Tensor,
    rng: torch.Generator,
) -> Tensor:
    """Returns the mean weighted log-likelihood of chosen records, up to a constant.

    `pool` holds the table, one-hot records, their labels and their weights.
    """
    table, records, labels, weights = pool
    num_classes = len(table)
    latents = max(_MIN_LATENTS, _LATENTS // num_classes)
    total = torch.zeros((), device=table.device)
    for label in labels[chosen].unique().tolist():
        members = chosen[labels[chosen] == label]
        latent = torch.randn(latents, net.latent, generator=rng).to(table.device)
        classes = torch.eye(num_classes, device=table.device)[label].expand(latents, -1)
        components = blocks.log_softmax(table[label] + net(latent, classes))
        likelihood = (records[members] @ components.T).logsumexp(1)
        total = total + (weights[members] * likelihood).sum()
    return total / len(chosen)
