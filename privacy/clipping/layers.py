"""Closed forms of per-unit gradients: what Linear, Embedding and LayerNorm need.

For each layer: the squared norm of every unit's gradient, and the sum of gradients when the
output gradients b are already scaled by the clip factors. Dot products that can cancel between
calls are taken in double precision: a norm found too small would void the clip.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

__all__ = ["CLOSED_FORMS", "ClosedForm", "LayerCall"]


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

    def sums(self, layer: nn.Module, calls: Sequence[LayerCall]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields each trainable parameter with the sum of its gradients over units and calls."""
        ...


class _Linear:
    activation_dims = 2

    def covers(self, layer: nn.Module) -> bool:
        return set(layer._parameters) == {"weight", "bias"}

    def squared_norms(self, layer: nn.Module, calls: Sequence[LayerCall]) -> Tensor:
        assert isinstance(layer, nn.Linear)
        with_bias = layer.bias is not None and layer.bias.requires_grad
        with_weight = layer.weight.requires_grad
        wide = [_wide(call) for call in calls] if len(calls) > 1 else list(calls)
        total = torch.zeros(len(calls[0].b), dtype=torch.float64, device=calls[0].b.device)
        for k, one in enumerate(wide):
            aa = _square(one.a) if with_weight else torch.zeros_like(total)
            total += (aa + 1.0 if with_bias else aa) * _square(one.b)
            for other in wide[:k]:
                aa = (one.a * other.a).sum(1) if with_weight else torch.zeros_like(total)
                bb = (one.b * other.b).sum(1)
                total += 2.0 * (aa + 1.0 if with_bias else aa) * bb
        return total

    def sums(self, layer: nn.Module, calls: Sequence[LayerCall]) -> Iterator[tuple[Tensor, Tensor]]:
        assert isinstance(layer, nn.Linear)
        if layer.weight.requires_grad:
            weight = calls[0].b.t() @ calls[0].a
            for call in calls[1:]:
                weight.addmm_(call.b.t(), call.a)
            yield layer.weight, weight
        if layer.bias is not None and layer.bias.requires_grad:
            yield layer.bias, _added([call.b for call in calls]).sum(0)


class _Embedding:
    activation_dims = 1

    def covers(self, layer: nn.Module) -> bool:
        assert isinstance(layer, nn.Embedding)
        plain = layer.padding_idx is None and layer.max_norm is None
        plain = plain and not layer.scale_grad_by_freq and not layer.sparse
        return plain and set(layer._parameters) == {"weight"}

    def squared_norms(self, layer: nn.Module, calls: Sequence[LayerCall]) -> Tensor:
        total = torch.zeros(len(calls[0].b), dtype=torch.float64, device=calls[0].b.device)
        for k, one in enumerate(calls):
            total += _square(one.b)
            for other in calls[:k]:
                bb = (one.b.double() * other.b.double()).sum(1)
                total += 2.0 * (one.a == other.a) * bb
        return total

    def sums(self, layer: nn.Module, calls: Sequence[LayerCall]) -> Iterator[tuple[Tensor, Tensor]]:
        assert isinstance(layer, nn.Embedding)
        weight = torch.zeros_like(layer.weight)
        for call in calls:
            weight.index_add_(0, call.a, call.b)
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

    def sums(self, layer: nn.Module, calls: Sequence[LayerCall]) -> Iterator[tuple[Tensor, Tensor]]:
        for parameter, gradients in self._per_unit(layer, calls):
            yield parameter, gradients.sum(0)

    def _per_unit(
        self, layer: nn.Module, calls: Sequence[LayerCall]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        assert isinstance(layer, nn.LayerNorm)
        if layer.weight.requires_grad:
            shape = list(layer.normalized_shape)
            parts = [nn.functional.layer_norm(c.a, shape, eps=layer.eps) * c.b for c in calls]
            yield layer.weight, _added(parts)
        if layer.bias is not None and layer.bias.requires_grad:
            yield layer.bias, _added([call.b for call in calls])


def _square(rows: Tensor) -> Tensor:
    norms: Tensor = torch.linalg.vector_norm(rows, dim=1, dtype=torch.float64)
    return norms.square()


def _wide(call: LayerCall) -> LayerCall:
    return LayerCall(call.a.double(), call.b.double())


def _added(values: Sequence[Tensor]) -> Tensor:
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total


CLOSED_FORMS: dict[type[nn.Module], ClosedForm] = {
    nn.Linear: _Linear(),
    nn.Embedding: _Embedding(),
    nn.LayerNorm: _LayerNorm(),
}
