"""One function for the sum of per-unit clipped gradients, whatever engine computes it.

Sensitivity: adding or removing one unit changes the returned vector (all parameters together)
by at most C (1 + 1e-6) in L2 norm with `dtype` float64, C being `max_grad_norm`, whatever the
weights and public values, provided that the loss of a row depends on nothing of the other rows
(`fedloom.privacy.clipping.units` says how). Of shuffled units it is C (1 + 2^-8), in the sense of
`fedloom.privacy.clipping.single`. A sum rounded to float32 adds a relative 1e-7 of the sum. The
sum is private: it must not leave a site before noise is added (`fedloom.privacy.mechanisms`).

Engines:
  fused       closed form for stacks of Linear, Embedding and LayerNorm on (B, d) activations, and
              of Conv2d, ConvTranspose2d and GroupNorm on (B, C, H, W); other modules go to
              `functional` by themselves.
  functional  `torch.func`: gradients of rows materialised, any module.
  opacus      Opacus' hooks: gradients of rows materialised; the reference. No persons.
They agree to rounding, and on which units contribute nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from fedloom.privacy.clipping.functional import functional_sum
from fedloom.privacy.clipping.fused import UnsupportedModuleError, fused_sum
from fedloom.privacy.clipping.units import (
    Batch,
    Loss,
    Part,
    batch_size,
    check_clip,
    check_module,
    split_batch,
    trainable,
)

__all__ = ["ENGINES", "Batch", "Loss", "clipped_gradient_sum"]

Engine = Callable[[nn.Module, dict[str, nn.Parameter], Loss, Part, float], dict[str, Tensor]]

ENGINES = ("fused", "functional", "opacus")


def clipped_gradient_sum(
    module: nn.Module,
    loss: Loss,
    batch: Batch,
    *,
    max_grad_norm: float,
    engine: str = "fused",
    max_physical_batch: int | None = None,
    dtype: torch.dtype | None = None,
    persons: Tensor | None = None,
    shuffled: bool = False,
) -> dict[str, Tensor]:
    """Returns the sum over units of g_i * min(1, max_grad_norm / |g_i|).

    Args:
      module: No BatchNorm, no buffers. Parameters that the loss does not use get zeros.
      loss: `loss(module, batch)` gives one number per row, shape (B,). Random numbers that it
        needs come in the batch.
      batch: Tensors with a common first dimension B, which may be 0.
      max_grad_norm: C in [1e-6, 1e6]: the largest norm of one unit's contribution.
      engine: One of `ENGINES`.
      max_physical_batch: Largest number of rows in memory at once; public, and without effect
        on the result but for rounding. Taken as a multiple of 64, from 64 to 512, and at least
        128 with persons.
      dtype: Of the sums. None is each parameter's own; float64 loses nothing.
      persons: (B,) int64: the unit of each row, whose rows follow one another, at most 100. Their
        gradients are added up and clipped once. None if every row is a unit. Not with `opacus`.
      shuffled: Promises that the order of units is secret and random, all orders alike. Then
        `fused` may sum in single precision where its rounding is bounded.

    Returns:
      One tensor per trainable parameter, by its name, of its shape.

    Raises:
      ValueError: the module, the shape of the loss or an argument is unusable. Never because of
        what a unit holds: a unit without a finite gradient contributes zero.
    """
    check_clip(max_grad_norm, max_physical_batch)
    check_module(module)
    batch_size(batch)
    one_part = _engine(engine)
    if persons is not None and engine == "opacus":
        raise ValueError("engine 'opacus' cannot clip a person's rows as one; use engine='fused'")
    parameters = trainable(module)
    total: dict[str, Tensor] = {}
    was_training = module.training
    if not was_training:
        module.train()
    try:
        with torch.enable_grad():
            for part in split_batch(batch, max_physical_batch, persons, shuffled=shuffled):
                for name, value in one_part(module, parameters, loss, part, max_grad_norm).items():
                    total[name] = total[name] + value if name in total else value
    finally:
        if not was_training:
            module.eval()
    return {
        name: (total[name] if name in total else torch.zeros_like(p)).detach().to(dtype or p.dtype)
        for name, p in parameters.items()
    }


def _engine(name: str) -> Engine:
    if name == "fused":
        return _fused_or_functional
    if name == "functional":
        return functional_sum
    if name == "opacus":
        # Opacus takes a second to import; the other engines do without it.
        from fedloom.privacy.clipping.opacus_engine import opacus_sum

        return opacus_sum
    raise ValueError(f"engine must be one of {', '.join(ENGINES)}; got {name!r}")


def _fused_or_functional(
    module: nn.Module,
    parameters: dict[str, nn.Parameter],
    loss: Loss,
    part: Part,
    max_grad_norm: float,
) -> dict[str, Tensor]:
    try:
        return fused_sum(module, parameters, loss, part, max_grad_norm)
    except UnsupportedModuleError:
        return functional_sum(module, parameters, loss, part, max_grad_norm)
