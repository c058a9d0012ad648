"""Opacus, wrapped: per-unit gradients by its hooks, clipped and noised by our rules.

The only module that imports opacus. `PerUnitGradients` holds Opacus' GradSampleModule open over
several steps and always leaves a clean module behind. `NoisyOptimizer` is Opacus' DPOptimizer
with rules of our own: factors and sums are float64, a unit whose gradient is not finite
contributes zero (Opacus would spread NaN over the sum), and noise and normaliser come from the
caller (Opacus' noise is torch's generator, and its `expected_batch_size` is commonly computed
from private sizes).

Opacus' `make_private` is not used: it infers the sampling rate from the length of a data
loader. Nor are its `ghost` and `adaptive` clipping, nor its accountants.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

import torch
from opacus import GradSampleModule
from opacus.optimizers import DPOptimizer
from torch import Tensor, nn

from fedloom.privacy.clipping.units import (
    Batch,
    Loss,
    Part,
    batch_size,
    check_losses,
    clipped_sum,
    trainable,
)

__all__ = ["NoisyOptimizer", "PerUnitGradients", "opacus_sum"]


class PerUnitGradients:
    """Opacus' hooks on a module, from `with` to its end."""

    def __init__(self, module: nn.Module) -> None:
        """Attaches the hooks; a module can carry them only once."""
        self._module = module
        self._hooked = GradSampleModule(module, loss_reduction="sum", strict=True)

    def backward(self, loss: Loss, batch: Batch, units: int | None = None) -> None:
        """Leaves the gradient of every unit in `grad_sample` of every trainable parameter.

        Args:
          loss: One number per row.
          batch: Rows.
          units: How many of the first rows are units; None for all. Others are left out.

        Raises:
          ValueError: the loss has a wrong shape, or uses a layer's call only in part, which the
            hooks cannot tell apart.
        """
        rows = batch_size(batch)
        units = rows if units is None else units
        self._forget()
        if rows > 0:
            losses = loss(self._module, batch)
            check_losses(losses, rows)
            with warnings.catch_warnings():
                # Of a first layer, whose input needs no gradient; the hooks do fire.
                warnings.filterwarnings("ignore", message="Full backward hook is firing")
                torch.autograd.backward(losses.sum())
            self._refuse_half_used_layers()
        for p in self._carriers().values():
            if p.grad_sample is None:
                p.grad_sample = p.new_zeros((units, *p.shape)).detach()
            p.grad_sample = p.grad_sample[:units]

    def close(self) -> None:
        """Removes every trace of Opacus from the module."""
        self._forget()
        self._hooked.to_standard_module()
        for p in self._module.parameters():
            if hasattr(p, "summed_grad"):
                del p.summed_grad

    def __enter__(self) -> PerUnitGradients:
        """Returns itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes."""
        self.close()

    def _carriers(self) -> dict[str, Any]:
        # Opacus hangs its attributes on parameters, which no type knows.
        return dict(trainable(self._module))

    def _forget(self) -> None:
        for part in self._module.modules():
            for attribute in ("activations", "max_batch_len"):
                if hasattr(part, attribute):
                    delattr(part, attribute)
        for p in self._carriers().values():
            p.grad, p.grad_sample, p._forward_counter = None, None, 0
            if hasattr(p, "_current_grad_sample"):
                del p._current_grad_sample

    def _refuse_half_used_layers(self) -> None:
        for name, p in self._carriers().items():
            if p._forward_counter and hasattr(p, "_current_grad_sample"):
                raise ValueError(
                    f"the loss uses some calls of the layer of {name!r} and not others, which "
                    "Opacus' hooks cannot tell apart; use engine='fused'"
                )


def opacus_sum(
    module: nn.Module,
    parameters: dict[str, nn.Parameter],
    loss: Loss,
    part: Part,
    max_grad_norm: float,
) -> dict[str, Tensor]:
    """Returns the clipped sum of one physical batch, in float64."""
    with PerUnitGradients(module) as hooks:
        hooks.backward(loss, part.batch, part.used)
        carriers: dict[str, Any] = dict(parameters)
        gradients = {name: p.grad_sample for name, p in carriers.items()}
        return clipped_sum(gradients, max_grad_norm)


class NoisyOptimizer(DPOptimizer):  # type: ignore[misc]  # Opacus has no types.
    """Opacus' DPOptimizer with noise from the caller and a public normaliser.

    `step` clips what `PerUnitGradients.backward` left, adds noise, divides by the normaliser and
    steps the wrapped optimiser. An empty batch still takes its step.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        parameters: Mapping[str, nn.Parameter],
        *,
        max_grad_norm: float,
        add_noise: Callable[[dict[str, Tensor]], dict[str, Tensor]],
        normaliser: float,
    ) -> None:
        """Wraps `optimizer`.

        Args:
          optimizer: Over exactly the values of `parameters`.
          parameters: Trainable parameters by name, in the order that noise is drawn in.
          max_grad_norm: Largest norm of one unit's contribution.
          add_noise: Returns the clipped sums with noise, by the same names.
          normaliser: Public number that noised sums are divided by.
        """
        # The noise_multiplier belongs to `add_noise`; NaN makes sure that nothing else uses it.
        super().__init__(
            optimizer,
            noise_multiplier=float("nan"),
            max_grad_norm=max_grad_norm,
            expected_batch_size=None,
            loss_reduction="sum",
        )
        self._named: dict[str, Any] = dict(parameters)
        self._draw = add_noise
        self._normaliser = normaliser

    def clip_and_accumulate(self) -> None:
        """Adds the clipped sum of the current physical batch to `summed_grad`."""
        gradients = {name: self._get_flat_grad_sample(p) for name, p in self._named.items()}
        for name, value in clipped_sum(gradients, self.max_grad_norm).items():
            p = self._named[name]
            p.summed_grad = value if p.summed_grad is None else p.summed_grad + value

    def add_noise(self) -> None:
        """Puts the noised sum into `grad`."""
        noised = self._draw({name: p.summed_grad for name, p in self._named.items()})
        for name, p in self._named.items():
            p.grad = noised[name].view_as(p).to(p.dtype)

    def scale_grad(self) -> None:
        """Divides by the public normaliser."""
        for p in self._named.values():
            p.grad /= self._normaliser
