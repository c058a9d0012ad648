"""Clipped sums by `torch.func`: any module, a gradient per row in memory.

Each row's gradient is taken of a batch that holds this row alone, so a loss that mixes rows
cannot be written by mistake; a person's is the sum over its rows. Memory is B times the
parameters: bound it by `max_physical_batch`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fedloom.privacy.clipping.units import Batch, Loss, Part, check_losses, clipped_sum

__all__ = ["functional_sum"]


class _LossModule(nn.Module):
    """A module whose output is the loss, as `functional_call` wants it."""

    def __init__(self, inner: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.inner = inner
        self._loss = loss

    def forward(self, batch: Batch) -> Tensor:
        return self._loss(self.inner, batch)


def functional_sum(
    module: nn.Module,
    parameters: dict[str, nn.Parameter],
    loss: Loss,
    part: Part,
    max_grad_norm: float,
) -> dict[str, Tensor]:
    """Returns the clipped sum of one physical batch, in float64.

    Raises:
      RuntimeError: the loss draws random numbers; they must come in the batch.
    """
    whole = _LossModule(module, loss)
    values = {name: p.detach() for name, p in parameters.items()}

    def loss_of_row(values: dict[str, Tensor], row: dict[str, Tensor]) -> Tensor:
        alone = {name: value.unsqueeze(0) for name, value in row.items()}
        inner = {f"inner.{name}": value for name, value in values.items()}
        losses: Tensor = torch.func.functional_call(whole, inner, (alone,))
        check_losses(losses, 1)
        return losses[0]

    per_row = torch.func.vmap(torch.func.grad(loss_of_row), in_dims=(None, 0), randomness="error")
    gradients = per_row(values, dict(part.batch))
    used = {name: g[: part.used] for name, g in gradients.items()}
    return clipped_sum(used, max_grad_norm, part.people)
