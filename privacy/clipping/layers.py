"""Closed forms of per-unit gradients: what Linear, Embedding and LayerNorm need.

For each layer: the squared norm of every unit's gradient, and the sum of gradients times the
units' clip factors. Both are float64, from activations a and output gradients b as they came: a
product of two float32 is exact, and no scaled number underflows. A norm found too small would
void the clip, so wherever a unit's terms can cancel, one of two things is done:
  The unit's gradient itself (biases, LayerNorm) is added up first; the norm and the sum are then
    of the same numbers.
  Products of several calls (weights of Linear, Embedding) are too large to add up per unit. With
    S = sum_k |a_k| |b_k|, the squared norm from dot products is wrong by less than 2^-37 S^2 (up
    to 2^14 columns) and the sum by less than 2^-40 c S. So (2^-18 S)^2 is added to the squared
    norm: the norm is never below the true one, and c S <= 2^18 C, so a contribution exceeds C by
    less than 1e-6 C. Honest gradients, where S is within a thousand of the norm, lose a relative
    1e-5 at most, and 1e-11 where calls do not cancel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

__all__ = ["CLOSED_FORMS", "ClosedForm", "LayerCall"]

# Of what cancelling calls have before they cancel; see the module's docstring.
_MARGIN = 2.0**-18


@dataclass(frozen=True, slots=True)
class LayerCall:
    """One call of a layer: its input `a` and the gradient `b` of its output, row by unit."""

    a: Tensor
    b: Tensor


class ClosedForm(Protocol):
    """What the fused engine asks of a kind of layer."""

    activation_dims: int

    def covers(self, layer: nn.Module) -> bool:
        """Tells whether this very layer is of the plain form that the formulas assume."""
        ...

    def squared_norms(self, layer: nn.Module, calls: Sequence[LayerCall]) -> Tensor:
        """Returns the squared gradient norm of each unit, float64."""
        ...

    def sums(
        self, layer: nn.Module, calls: Sequence[LayerCall], factors: Tensor
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields each trainable parameter with the sum of its gradients times factors, float64.

        Units with factor 0 must have a and b of zeros.
        """
        ...


class _Linear:
    activation_dims = 2

    def covers(self, layer: nn.Module) -> bool:
        return set(layer._parameters) == {"weight", "bias"}

    def squared_norms(self, layer: nn.Module, calls: Sequence[LayerCall]) -> Tensor:
        assert isinstance(layer, nn.Linear)
        total = torch.zeros(len(calls[0].b), dtype=torch.float64, device=calls[0].b.device)
        if layer.weight.requires_grad:
            total += _square_of_products(calls, _dot)
        if layer.bias is not None and layer.bias.requires_grad:
            total += _square(_added([call.b for call in calls]))
        return total

    def sums(
        self, layer: nn.Module, calls: Sequence[LayerCall], factors: Tensor
    ) -> Iterator[tuple[Tensor, Tensor]]:
        assert isinstance(layer, nn.Linear)
        if layer.weight.requires_grad:
            scaled = [factors.unsqueeze(1) * call.b for call in calls]
            weight = scaled[0].t() @ calls[0].a.double()
            for b, call in zip(scaled[1:], calls[1:], strict=True):
                weight.addmm_(b.t(), call.a.double())
            yield layer.weight, weight
        if layer.bias is not None and layer.bias.requires_grad:
            yield layer.bias, factors @ _added([call.b for call in calls])


class _Embedding:
    activation_dims = 1

    def covers(self, layer: nn.Module) -> bool:
        assert isinstance(layer, nn.Embedding)
        plain = layer.padding_idx is None and layer.max_norm is None
        plain = plain and not layer.scale_grad_by_freq and not layer.sparse
        return plain and set(layer._parameters) == {"weight"}

    def squared_norms(self, layer: nn.Module, calls: Sequence[LayerCall]) -> Tensor:
        return _square_of_products(calls, _equal)

    def sums(
        self, layer: nn.Module, calls: Sequence[LayerCall], factors: Tensor
    ) -> Iterator[tuple[Tensor, Tensor]]:
        assert isinstance(layer, nn.Embedding)
        weight = torch.zeros_like(layer.weight, dtype=torch.float64)
        for call in calls:
            weight.index_add_(0, call.a, factors.unsqueeze(1) * call.b)
        yield layer.weight, weight.detach()


class _LayerNorm:
    activation_dims = 2

    def covers(self, layer: nn.Module) -> bool:
        assert isinstance(layer, nn.LayerNorm)
        return len(layer.normalized_shape) == 1 and set(layer._parameters) == {"weight", "bias"}

    def squared_norms(self, layer: nn.Module, calls: Sequence[LayerCall]) -> Tensor:
        total = torch.zeros(len(calls[0].b), dtype=torch.float64, device=calls[0].b.device)
        for _, gradients in self._per_unit(layer, calls):
            total += _square(gradients)
        return total

    def sums(
        self, layer: nn.Module, calls: Sequence[LayerCall], factors: Tensor
    ) -> Iterator[tuple[Tensor, Tensor]]:
        for parameter, gradients in self._per_unit(layer, calls):
            yield parameter, factors @ gradients

    def _per_unit(
        self, layer: nn.Module, calls: Sequence[LayerCall]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        assert isinstance(layer, nn.LayerNorm)
        if layer.weight.requires_grad:
            shape = list(layer.normalized_shape)
            parts = [
                nn.functional.layer_norm(c.a, shape, eps=layer.eps).double() * c.b for c in calls
            ]
            yield layer.weight, _added(parts)
        if layer.bias is not None and layer.bias.requires_grad:
            yield layer.bias, _added([call.b for call in calls])


def _square(rows: Tensor) -> Tensor:
    norms: Tensor = torch.linalg.vector_norm(rows, dim=1, dtype=torch.float64)
    return norms.square()


def _square_of_products(
    calls: Sequence[LayerCall], inner: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """Squared norm of sum_k b_k a_k^T of each unit, not below the true one by rounding."""
    if len(calls) == 1:
        return inner(calls[0].a, calls[0].a) * _square(calls[0].b)
    total = torch.zeros(len(calls[0].b), dtype=torch.float64, device=calls[0].b.device)
    apart = torch.zeros_like(total)
    for k, one in enumerate(calls):
        squared = inner(one.a, one.a) * _square(one.b)
        total += squared
        apart += squared.sqrt()
        for other in calls[:k]:
            total += 2.0 * inner(one.a, other.a) * _dot(one.b, other.b)
    return total.clamp(min=0.0) + (_MARGIN * apart).square()


def _dot(one: Tensor, other: Tensor) -> Tensor:
    return _square(one) if one is other else (one.double() * other.double()).sum(1)


def _equal(one: Tensor, other: Tensor) -> Tensor:
    return (one == other).double()


def _added(values: Sequence[Tensor]) -> Tensor:
    total = values[0].double()
    for value in values[1:]:
        total = total + value
    return total


CLOSED_FORMS: dict[type[nn.Module], ClosedForm] = {
    nn.Linear: _Linear(),
    nn.Embedding: _Embedding(),
    nn.LayerNorm: _LayerNorm(),
}
