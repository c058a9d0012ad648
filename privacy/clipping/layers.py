"""Closed forms of per-unit gradients: what Linear, Embedding, LayerNorm and GroupNorm need.

For each layer: the squared norm of every unit's gradient, and the sum of gradients times the
units' clip factors. Both are float64, from activations a and output gradients b as they came: a
product of two float32 is exact, and no scaled number underflows. Where a bound allows it, products
are summed in float32 (`fedloom.privacy.clipping.single`). A norm found too small would void the
clip, so wherever a unit's terms can cancel, one of two things is done:
  The unit's gradient itself (biases, norms' scales) is added up first; the norm and the sum are
    then of the same numbers.
  Products of several calls or of a person's rows (weights of Linear, Embedding) are too large to
    add up per unit. With S = sum_k |a_k| |b_k| over calls and rows, the squared norm from dot
    products is wrong by less than 2^-36 S^2 (up to 2^14 columns and 2^8 terms) and the sum by less
    than 2^-40 c S. So (2^-18 S)^2 is added to the squared norm: the norm is never below the true
    one, and c S <= 2^18 C, so a contribution exceeds C by less than 1e-6 C. Honest gradients, where
    S is within a thousand of the norm, lose a relative 1e-5 at most, and 1e-11 where nothing
    cancels.

A person's cross terms, sum_ij (a_i.a_j)(b_i.b_j) over its rows, are taken at one distance i - j
after the other, as sums along rows: every row is computed alike, wherever it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from fedloom.privacy.clipping.single import Factors, Spread, block_products, block_sums
from fedloom.privacy.clipping.units import People

__all__ = [
    "CLOSED_FORMS",
    "MARGIN",
    "ClosedForm",
    "LayerCall",
    "LayerGradients",
    "per_unit",
    "square",
]

# Of what cancelling terms have before they cancel; see the module's docstring.
MARGIN = 2.0**-18


@dataclass(frozen=True, slots=True)
class LayerCall:
    """One call of a layer: its input `a` and the gradient `b` of its output, row by row."""

    a: Tensor
    b: Tensor


@dataclass(frozen=True, slots=True)
class LayerGradients:
    """What is known of a layer's gradients, unit by unit.

    `squared` is the squared norm of each unit's, float64; `spread` bounds what sums in float32 do,
    None where none are made. `sums` yields each trainable parameter with the sum of its gradients
    times factors, float64; rows with factor 0 must have finite a and b.
    """

    squared: Tensor
    spread: Spread | None
    sums: Callable[[Factors], Iterator[tuple[Tensor, Tensor]]]


class ClosedForm(Protocol):
    """What the fused engine asks of a kind of layer."""

    activation_dims: tuple[int, ...]

    def covers(self, layer: nn.Module) -> bool:
        """Tells whether this very layer is of the plain form that the formulas assume."""
        ...

    def measured(
        self, layer: nn.Module, calls: Sequence[LayerCall], people: People | None
    ) -> LayerGradients:
        """Measures all units' gradients of a layer; without `people` every row is a unit."""
        ...


class _Linear:
    activation_dims: tuple[int, ...] = (2,)

    def covers(self, layer: nn.Module) -> bool:
        return set(layer._parameters) == {"weight", "bias"}

    def measured(
        self, layer: nn.Module, calls: Sequence[LayerCall], people: People | None
    ) -> LayerGradients:
        assert isinstance(layer, nn.Linear)
        bias = layer.bias if layer.bias is not None and layer.bias.requires_grad else None
        if layer.weight.requires_grad and len(calls) == 1 and people is None:
            return self._called_once(layer.weight, bias, calls[0])
        total = torch.zeros(len(calls[0].b), dtype=torch.float64, device=calls[0].b.device)
        spread = None
        if layer.weight.requires_grad:
            squared, apart = _square_of_products(calls, _dot, people)
            total += squared
            largest = torch.stack([square(call.a) for call in calls]).amax(0)
            spread = Spread(apart.square(), largest, once=False)
        of_bias = None if bias is None else per_unit([call.b for call in calls], people)
        if of_bias is not None:
            total += square(of_bias)

        def sums(factors: Factors) -> Iterator[tuple[Tensor, Tensor]]:
            if layer.weight.requires_grad:
                yield layer.weight, _sum_of_products(calls, factors)
            if bias is not None and of_bias is not None:
                yield bias, factors.units @ of_bias

        return LayerGradients(total, spread, sums)

    def _called_once(self, weight: Tensor, bias: Tensor | None, call: LayerCall) -> LayerGradients:
        # A bias is a weight whose input is 1.
        a, b = square(call.a), square(call.b)
        squared = a * b if bias is None else (a + 1.0) * b

        def sums(factors: Factors) -> Iterator[tuple[Tensor, Tensor]]:
            if factors.double is None and factors.single is not None:
                scaled = factors.single.unsqueeze(1) * call.b
                yield weight, block_products(scaled, call.a)
                if bias is not None:
                    yield bias, block_sums(scaled)
                return
            yield weight, _sum_of_products([call], factors)
            if bias is not None:
                yield bias, _sum_of_rows(call.b, factors)

        return LayerGradients(squared, Spread(squared, a, once=True), sums)


class _Embedding:
    activation_dims: tuple[int, ...] = (1,)

    def covers(self, layer: nn.Module) -> bool:
        assert isinstance(layer, nn.Embedding)
        plain = layer.padding_idx is None and layer.max_norm is None
        plain = plain and not layer.scale_grad_by_freq and not layer.sparse
        return plain and set(layer._parameters) == {"weight"}

    def measured(
        self, layer: nn.Module, calls: Sequence[LayerCall], people: People | None
    ) -> LayerGradients:
        def sums(factors: Factors) -> Iterator[tuple[Tensor, Tensor]]:
            assert isinstance(layer, nn.Embedding)
            weight = torch.zeros_like(layer.weight, dtype=torch.float64)
            for call in calls:
                weight.index_add_(0, call.a, factors.rows.unsqueeze(1) * call.b)
            yield layer.weight, weight.detach()

        return LayerGradients(_square_of_products(calls, _equal, people)[0], None, sums)


class _Scaled:
    """What LayerNorm and GroupNorm share: channels in the second dimension, scaled and shifted."""

    activation_dims: tuple[int, ...]

    def covers(self, layer: nn.Module) -> bool:
        return set(layer._parameters) == {"weight", "bias"}

    def normalised(self, layer: nn.Module, a: Tensor) -> Tensor:
        raise NotImplementedError

    def measured(
        self, layer: nn.Module, calls: Sequence[LayerCall], people: People | None
    ) -> LayerGradients:
        gradients = []
        weight, bias = layer.weight, layer.bias
        if isinstance(weight, Tensor) and weight.requires_grad:
            parts = [self.normalised(layer, call.a).double() * call.b for call in calls]
            gradients.append((weight, per_unit([_over_positions(part) for part in parts], people)))
        if isinstance(bias, Tensor) and bias.requires_grad:
            parts = [_over_positions(call.b.double()) for call in calls]
            gradients.append((bias, per_unit(parts, people)))
        total = torch.zeros(len(calls[0].b), dtype=torch.float64, device=calls[0].b.device)
        for _, of_units in gradients:
            total += square(of_units)

        def sums(factors: Factors) -> Iterator[tuple[Tensor, Tensor]]:
            for parameter, of_units in gradients:
                yield parameter, factors.units @ of_units

        return LayerGradients(total, None, sums)


class _LayerNorm(_Scaled):
    activation_dims: tuple[int, ...] = (2,)

    def covers(self, layer: nn.Module) -> bool:
        assert isinstance(layer, nn.LayerNorm)
        return len(layer.normalized_shape) == 1 and super().covers(layer)

    def normalised(self, layer: nn.Module, a: Tensor) -> Tensor:
        assert isinstance(layer, nn.LayerNorm)
        return nn.functional.layer_norm(a, list(layer.normalized_shape), eps=layer.eps)


class _GroupNorm(_Scaled):
    activation_dims: tuple[int, ...] = (2, 3, 4)

    def normalised(self, layer: nn.Module, a: Tensor) -> Tensor:
        assert isinstance(layer, nn.GroupNorm)
        return nn.functional.group_norm(a, layer.num_groups, eps=layer.eps)


def _over_positions(values: Tensor) -> Tensor:
    """Adds up all but rows and channels: (B, C, ...) to (B, C)."""
    return values.flatten(2).sum(2) if values.dim() > 2 else values


def _sum_of_rows(b: Tensor, factors: Factors) -> Tensor:
    """Returns the sum of scaled rows, block by block in the precision that its products have.

    A block that must be summed in double precision changes no other block's rounding.
    """
    total = torch.zeros(b.shape[1], dtype=torch.float64, device=b.device)
    if factors.single is not None:
        total += block_sums(factors.single.unsqueeze(1) * b)
    if factors.double is not None:
        total += factors.double @ b.double()
    return total


def square(rows: Tensor) -> Tensor:
    """Returns the squared norm of every row of (B, n), float64."""
    norms: Tensor = torch.linalg.vector_norm(rows, dim=1, dtype=torch.float64)
    return norms.square()


def _square_of_products(
    calls: Sequence[LayerCall], inner: Callable[[Tensor, Tensor], Tensor], people: People | None
) -> tuple[Tensor, Tensor]:
    """Returns the squared norm of the sum of b a^T over a unit's calls and rows, and S.

    The squared norm is not below the true one by rounding.
    """
    total = torch.zeros(len(calls[0].b), dtype=torch.float64, device=calls[0].b.device)
    apart = torch.zeros_like(total)
    for k, one in enumerate(calls):
        squared = inner(one.a, one.a) * square(one.b)
        if len(calls) == 1 and people is None:
            return squared, squared.sqrt()
        total += squared
        apart += squared.sqrt()
        for other in calls[:k]:
            total += 2.0 * inner(one.a, other.a) * _dot(one.b, other.b)
    if people is not None:
        _add_cross_terms(total, calls, inner, people)
        total, apart = people.gathered(total), people.gathered(apart)
    return total.clamp(min=0.0) + (MARGIN * apart).square(), apart


def _add_cross_terms(
    total: Tensor,
    calls: Sequence[LayerCall],
    inner: Callable[[Tensor, Tensor], Tensor],
    people: People,
) -> None:
    """Adds what different rows of one person have in common to `total`, float64 (rows,)."""
    for lag in range(1, people.longest):
        same = people.owners[lag:] == people.owners[:-lag]
        for one in calls:
            for other in calls:
                cross = inner(one.a[lag:], other.a[:-lag]) * _dot(one.b[lag:], other.b[:-lag])
                total[lag:] += torch.where(same, 2.0 * cross, 0.0)


def _sum_of_products(calls: Sequence[LayerCall], factors: Factors) -> Tensor:
    """Returns the sum over calls and rows of factor * b a^T, float64."""
    shape = calls[0].b.shape[1], calls[0].a.shape[1]
    total = None
    for call in calls:
        if factors.single is not None:
            part = block_products(factors.single.unsqueeze(1) * call.b, call.a)
            total = part if total is None else total.add_(part)
        if factors.double is not None:
            scaled = (factors.double.unsqueeze(1) * call.b).t()
            if total is None:
                total = scaled @ call.a.double()
            else:
                total.addmm_(scaled, call.a.double())
    return calls[0].b.new_zeros(shape, dtype=torch.float64) if total is None else total


def _dot(one: Tensor, other: Tensor) -> Tensor:
    return square(one) if one is other else (one.double() * other.double()).sum(1)


def _equal(one: Tensor, other: Tensor) -> Tensor:
    return (one == other).double()


def per_unit(values: Sequence[Tensor], people: People | None) -> Tensor:
    """Adds up calls, and a person's rows: the gradient of each unit, (units, n) float64."""
    total = values[0].double()
    for value in values[1:]:
        total = total + value
    return total if people is None else people.gathered(total)


CLOSED_FORMS: dict[type[nn.Module], ClosedForm] = {
    nn.Linear: _Linear(),
    nn.Embedding: _Embedding(),
    nn.LayerNorm: _LayerNorm(),
    nn.GroupNorm: _GroupNorm(),
}
