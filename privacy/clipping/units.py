"""What every clipping engine shares: the unit's loss, its clip factor, the modules allowed.

A unit is one position of the first dimension of a batch. Its gradient over all trainable
parameters is scaled to norm at most C, so that adding or removing the unit moves the sum by at
most C. A unit whose gradient is not finite contributes zero, whatever it holds: an exception
would be an answer about it that nobody paid for.

Norms are added up in double precision; the clipped sum keeps the parameters' own precision, so
the bound C holds up to its rounding (relative 1e-6 in float32).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, nn

__all__ = [
    "Batch",
    "Loss",
    "batch_size",
    "check_clip",
    "check_losses",
    "check_module",
    "clip_factors",
    "clipped_sum",
    "split_batch",
    "trainable",
]

Batch = Mapping[str, Tensor]
Loss = Callable[[nn.Module, Batch], Tensor]


def trainable(module: nn.Module) -> dict[str, nn.Parameter]:
    """Returns the parameters that gradients are taken of, by name, in the module's order."""
    return {name: p for name, p in module.named_parameters() if p.requires_grad}


def batch_size(batch: Batch) -> int:
    """Returns the common first dimension of a batch.

    Raises:
      ValueError: the batch is empty of tensors, or their first dimensions differ.

    >>> batch_size({"x": torch.zeros(3, 2), "y": torch.zeros(3)})
    3
    """
    if any(value.dim() == 0 for value in batch.values()):
        raise ValueError("every tensor of a batch needs a first dimension that counts units")
    sizes = {value.shape[0] for value in batch.values()}
    if len(sizes) != 1:
        names = ", ".join(sorted(batch)) or "none"
        raise ValueError(f"the tensors of a batch must share their first dimension; got: {names}")
    return int(sizes.pop())


def split_batch(batch: Batch, max_physical_batch: int | None) -> Iterator[Batch]:
    """Yields parts of at most `max_physical_batch` units (a public number), in order."""
    size = batch_size(batch)
    step = max_physical_batch or max(size, 1)
    for start in range(0, size, step):
        part = slice(start, start + step)
        yield batch if step >= size else {name: value[part] for name, value in batch.items()}


def check_clip(max_grad_norm: float, max_physical_batch: int | None) -> None:
    """Refuses a clip that bounds nothing, and physical batches of less than one unit."""
    if not 0.0 < max_grad_norm < float("inf"):
        raise ValueError(f"max_grad_norm must be finite and > 0, got {max_grad_norm!r}")
    if max_physical_batch is not None and max_physical_batch < 1:
        raise ValueError(f"max_physical_batch must be at least 1, got {max_physical_batch!r}")


def check_losses(losses: Tensor, units: int) -> None:
    """Refuses losses that are not one number a unit.

    Shape (B, 1) instead of (B,) is the classic way to lose the guarantee: multiplied by clip
    factors of shape (B,) it spreads over all pairs of units.
    """
    if tuple(losses.shape) != (units,):
        raise ValueError(
            f"a loss must be one number per unit, of shape ({units},); got shape "
            f"{tuple(losses.shape)}. Reduce over every dimension but the first"
        )


def check_module(module: nn.Module) -> None:
    """Refuses modules whose gradient or state mixes the units of a batch."""
    for name, part in module.named_modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            raise ValueError(
                f"module {name!r} is a {type(part).__name__}, which mixes the records of a batch; "
                "use LayerNorm or GroupNorm"
            )
    buffers = [name for name, _ in module.named_buffers()]
    if buffers:
        raise ValueError(
            f"a private module may hold no buffers, which could carry data; got {buffers}. "
            "Pass constants in the batch, or keep them as plain attributes"
        )
    if not trainable(module):
        raise ValueError("the module has no trainable parameter")


def clip_factors(squared_norms: Tensor, max_grad_norm: float) -> tuple[Tensor, Tensor]:
    """Returns min(1, C / norm) of each unit, and which units have a finite norm.

    The factor of a unit whose norm is not finite is 0; callers must also leave its gradient out,
    since 0 times NaN is NaN.

    >>> clip_factors(torch.tensor([0.0, 0.25, 4.0, float("nan")]), 1.0)[0].tolist()
    [1.0, 1.0, 0.5, 0.0]
    """
    finite = torch.isfinite(squared_norms)
    factors = (max_grad_norm / squared_norms.clamp(min=0.0).sqrt()).clamp(max=1.0)
    return torch.where(finite, factors, torch.zeros_like(factors)), finite


def clipped_sum(gradients: dict[str, Tensor], max_grad_norm: float) -> dict[str, Tensor]:
    """Clips materialised gradients, each of shape (B, *parameter), and adds them up."""
    squared = torch.stack(
        [_square_of_rows(g.reshape(g.shape[0], g.shape[1:].numel())) for g in gradients.values()]
    ).sum(0)
    factors, finite = clip_factors(squared, max_grad_norm)
    if not bool(finite.all()):
        factors = factors[finite]
        gradients = {name: g[finite] for name, g in gradients.items()}
    return {
        name: torch.einsum("n,n...->...", factors.to(g.dtype), g) for name, g in gradients.items()
    }


def _square_of_rows(rows: Tensor) -> Tensor:
    norms: Tensor = torch.linalg.vector_norm(rows, dim=1, dtype=torch.float64)
    return norms.square()
