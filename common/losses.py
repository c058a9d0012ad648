"""Per-record losses: one number per record, of shape (B,), never reduced over records.

A loss of shape (B, 1) times clip factors of shape (B,) would spread over all pairs of records
and void the guarantee, so every loss checks its own shape.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["block_cross_entropy", "gaussian_kl", "paired_critic_loss", "per_record"]


def per_record(losses: Tensor, records: int) -> Tensor:
    """Returns the losses if they are one number per record.

    Raises:
      ValueError: their shape is another.

    >>> per_record(torch.zeros(3), 3).shape
    torch.Size([3])
    """
    if tuple(losses.shape) != (records,):
        raise ValueError(
            f"a loss must have shape ({records},), one number per record; got {tuple(losses.shape)}"
        )
    return losses


def block_cross_entropy(logits: Tensor, one_hot: Tensor, sizes: Sequence[int]) -> Tensor:
    """Sums the cross entropies of all columns of a record.

    Args:
      logits: (B, D) one softmax per block.
      one_hot: (B, D) the record's cells.
      sizes: cells of each block; they sum to D.
    """
    normalisers = [part.logsumexp(1) for part in logits.split(list(sizes), dim=1)]
    total = torch.stack(normalisers).sum(0) - (one_hot * logits).sum(1)
    return per_record(total, len(logits))


def gaussian_kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Returns KL(N(mean, exp(log_variance)) || N(0, I)) of each row, (B,).

    Source: Kingma & Welling 2013 (arXiv:1312.6114), appendix B.

    >>> gaussian_kl(torch.zeros(2, 3), torch.zeros(2, 3)).tolist()
    [0.0, 0.0]
    """
    terms = mean.square() + log_variance.exp() - 1.0 - log_variance
    return per_record(0.5 * terms.sum(1), len(mean))


def paired_critic_loss(real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    """Returns a critic's logistic loss on pairs of one record and one fake each.

    Guarantee: a record and its own fake are one unit, so one clip covers both, and adding a
    record adds one clipped gradient. Fakes beside the pairs would double the sensitivity.

    Args:
      real_scores: (B,) the critic's scores of records.
      fake_scores: (B,) of fakes with the records' labels.
    """
    losses = functional.softplus(-real_scores) + functional.softplus(fake_scores)
    return per_record(losses, len(real_scores))
