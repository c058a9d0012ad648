"""Closed forms of the per-record losses, and the shape that each insists on."""

from __future__ import annotations

import math

import pytest
import torch

from fedloom.common.losses import (
    block_cross_entropy,
    gaussian_kl,
    paired_critic_loss,
    per_record,
)


def test_cross_entropy_of_blocks_is_the_sum_of_the_columns():
    logits = torch.randn(4, 5, generator=torch.Generator().manual_seed(1))
    codes = torch.tensor([[0, 2], [1, 1], [0, 0], [1, 2]])
    parts = [torch.nn.functional.one_hot(codes[:, j], size) for j, size in enumerate((2, 3))]
    rows = torch.cat(parts, dim=1).float()
    expected = sum(
        torch.nn.functional.cross_entropy(part, codes[:, j], reduction="none")
        for j, part in enumerate(logits.split([2, 3], dim=1))
    )
    torch.testing.assert_close(block_cross_entropy(logits, rows, [2, 3]), expected)


def test_kl_is_that_of_torch_distributions():
    mean = torch.tensor([[0.5, -1.0]])
    log_variance = torch.tensor([[0.2, -0.7]])
    posterior = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    prior = torch.distributions.Normal(0.0, 1.0)
    expected = torch.distributions.kl_divergence(posterior, prior).sum(1)
    torch.testing.assert_close(gaussian_kl(mean, log_variance), expected)


def test_undecided_critic_loses_two_logs_of_two():
    losses = paired_critic_loss(torch.zeros(3), torch.zeros(3))
    torch.testing.assert_close(losses, torch.full((3,), 2 * math.log(2.0)))


@pytest.mark.parametrize("shape", [(4, 1), (1, 4), (), (3,)])
def test_losses_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match="one number per record"):
        per_record(torch.zeros(shape), 4)


def test_scores_with_a_trailing_dimension_are_refused():
    with pytest.raises(ValueError, match="one number per record"):
        paired_critic_loss(torch.zeros(4, 1), torch.zeros(4, 1))
