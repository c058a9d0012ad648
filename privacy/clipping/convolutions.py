"""Closed forms of per-unit gradients of convolutions and transposed convolutions.

The gradient of unit i towards a convolution's weight is b_i u_i^T: b_i (O, P) are the gradients of
its outputs, position by position, and u_i (K, P) the patch of inputs that each position saw. For
a transposed convolution inputs and output gradients change places. Of a layer in groups this holds
for each group. P positions of one unit can cancel, and here are two ways to a norm that is not
below the true one:

  Materialised: b_i u_i^T itself, in the layer's own precision, a few units at a time. Whatever
    its rounding, the norm and the clipped sum, both float64, are of the very same numbers, so the
    contribution of a unit is within the clip without any margin.
  Ghost norms, where the Gram matrices of positions are smaller than the weight: from
    sum_pq (b_p.b_q)(u_p.u_q) over positions and calls, float64, with the margin that
    `fedloom.privacy.clipping.layers` has for calls that cancel: at most 2^8 positions and calls,
    and 2^14 channels and patches. The clipped sum is one float64 product.

Which way is taken, and how many units are materialised at a time, depends on shapes alone. Rows are
computed by products of one shape that start at multiples of 64 bytes, so that a kernel has no
reason to treat them differently; `fedloom.privacy.clipping.row_invariance` looks whether it does.

Sources: Rochette et al. 2019 (arXiv:1912.06015) for gradients from unfolded inputs; Bu et al. 2022
(arXiv:2205.10683) for choosing between them and ghost norms layer by layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from fedloom.privacy.clipping.layers import (
    MARGIN,
    ClosedForm,
    LayerCall,
    LayerGradients,
    per_unit,
    square,
)
from fedloom.privacy.clipping.single import Factors
from fedloom.privacy.clipping.units import People, weighted_sum

__all__ = ["CONVOLUTIONS", "row_gradients"]

Convolution = nn.Conv2d | nn.ConvTranspose2d

# Numbers that are unfolded at a time, and that are kept from norms to sums: 4 and 128 MB.
_AT_ONCE = 2**20
_KEPT = 2**25
# How many times smaller Gram matrices must be than weights to be faster than gradients that fit;
# measured on one processor for 5 shapes: at 5 times they were slower, at 130 faster.
_GHOST_PAYS = 16
_MOST_TERMS = 2**8
_MOST_COLUMNS = 2**14
_ALIGNED = 16


class _Convolution:
    activation_dims: tuple[int, ...] = (4,)

    def covers(self, layer: nn.Module) -> bool:
        return set(layer._parameters) == {"weight", "bias"}

    def measured(
        self, layer: nn.Module, calls: Sequence[LayerCall], people: People | None
    ) -> LayerGradients:
        assert isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
        bias = layer.bias if layer.bias is not None and layer.bias.requires_grad else None
        total = torch.zeros(len(calls[0].b), dtype=torch.float64, device=calls[0].b.device)
        of_weight = None
        if layer.weight.requires_grad:
            ghost = people is None and _ghost_is_smaller(layer, calls)
            of_weight = (_Ghost if ghost else _Materialised)(layer, calls, people)
            total += of_weight.squared
        of_bias = None
        if bias is not None:
            of_bias = per_unit([call.b.double().sum((2, 3)) for call in calls], people)
            total += square(of_bias)

        def sums(factors: Factors) -> Iterator[tuple[Tensor, Tensor]]:
            if of_weight is not None:
                yield layer.weight, of_weight.sum(factors).reshape(layer.weight.shape)
            if bias is not None and of_bias is not None:
                yield bias, factors.units @ of_bias

        return LayerGradients(total, None, sums)


class _Materialised:
    """Gradients of the weight, one after the other."""

    def __init__(
        self, layer: Convolution, calls: Sequence[LayerCall], people: People | None
    ) -> None:
        self._layer, self._calls, self._people = layer, calls, people
        units, size = len(calls[0].b), layer.weight.numel()
        self._kept: list[Tensor] | None = None
        if people is not None or units * size <= _KEPT:
            self._kept = list(self._parts())
        parts = self._parts() if self._kept is None else self._kept
        self.squared = torch.cat([square(part) for part in parts])

    def sum(self, factors: Factors) -> Tensor:
        parts = self._parts() if self._kept is None else self._kept
        total = torch.zeros(self._layer.weight.numel(), dtype=torch.float64)
        total = total.to(self.squared.device)
        start = 0
        for part in parts:
            total += weighted_sum(factors.units[start : start + len(part)], part)
            start += len(part)
        return total

    def _parts(self) -> Iterator[Tensor]:
        if self._people is None:
            yield from row_gradients(self._layer, self._calls)
        else:
            yield self._people.gathered(torch.cat(list(row_gradients(self._layer, self._calls))))


class _Ghost:
    """Norms from Gram matrices of positions; no gradient of the weight is in memory."""

    def __init__(
        self, layer: Convolution, calls: Sequence[LayerCall], people: People | None
    ) -> None:
        assert people is None
        self._layer, self._calls = layer, calls
        rows, chunk = len(calls[0].b), _units_at_once(layer, calls)
        self.squared = torch.cat(
            [self._squared(start, start + chunk) for start in range(0, rows, chunk)]
        )

    def _squared(self, start: int, end: int) -> Tensor:
        left, patches = self._columns(start, end)
        grams = (left.mT @ left) * (patches.mT @ patches)
        lengths: Tensor = torch.linalg.vector_norm(left, dim=2)
        apart = (lengths * torch.linalg.vector_norm(patches, dim=2)).sum((1, 2))
        squared: Tensor = grams.sum((1, 2, 3)).clamp(min=0.0) + (MARGIN * apart).square()
        return squared

    def sum(self, factors: Factors) -> Tensor:
        total: Tensor | None = None
        chunk = _units_at_once(self._layer, self._calls)
        for start in range(0, len(factors.rows), chunk):
            left, patches = self._columns(start, start + chunk)
            scaled = left * factors.rows[start : start + chunk].reshape(-1, 1, 1, 1)
            part = torch.einsum("nglp,ngkp->glk", scaled, patches)
            total = part if total is None else total + part
        assert total is not None
        return total

    def _columns(self, start: int, end: int) -> tuple[Tensor, Tensor]:
        """Returns a few units' columns of all calls beside one another, float64."""
        both = [_columns(self._layer, _some(call, start, end)) for call in self._calls]
        left = torch.cat([one.double() for one, _ in both], 3)
        return left, torch.cat([other.double() for _, other in both], 3)


def row_gradients(layer: Convolution, calls: Sequence[LayerCall]) -> Iterator[Tensor]:
    """Yields the gradients of the weight, row by row, a few rows at a time: (n, weight) tensors."""
    rows, chunk = len(calls[0].b), _units_at_once(layer, calls)
    for start in range(0, rows, chunk):
        total: Tensor | None = None
        for call in calls:
            left, patches = _columns(layer, _some(call, start, start + chunk))
            part = _aligned(left) @ _aligned(patches).mT
            total = part if total is None else total.add_(part)
        assert total is not None
        yield total.reshape(len(total), -1)


def _columns(layer: Convolution, call: LayerCall) -> tuple[Tensor, Tensor]:
    """Returns what the gradient of a weight is a product of.

    Returns:
      (n, groups, L, P) and (n, groups, K, P): the gradient of group g is the first times the
      second transposed, L times K being the weight's part of that group.
    """
    if isinstance(layer, nn.Conv2d):
        zeros = layer.padding_mode == "zeros"
        seen = nn.functional.pad(
            call.a,
            list(layer._reversed_padding_repeated_twice),
            mode="constant" if zeros else layer.padding_mode,
        )
        patches = nn.functional.unfold(
            seen, layer.kernel_size, dilation=layer.dilation, stride=layer.stride
        )
        left = call.b
    else:
        left = call.a
        patches = _patches_of_output(layer, call)
    rows, groups = len(left), layer.groups
    return (
        left.reshape(rows, groups, left.shape[1] // groups, -1),
        patches.reshape(rows, groups, patches.shape[1] // groups, -1),
    )


def _patches_of_output(layer: nn.ConvTranspose2d, call: LayerCall) -> Tensor:
    """Returns the output gradients that each input position reaches, (n, K, positions)."""
    assert isinstance(layer.padding, tuple)  # words such as "same" are for convolutions alone
    up, across = layer.padding
    wide = nn.functional.pad(call.b, [across, across, up, up])
    # Output padding may leave room for positions that no input has.
    height, width = (
        (size - 1) * stride + dilation * (kernel - 1) + 1
        for size, stride, dilation, kernel in zip(
            call.a.shape[2:], layer.stride, layer.dilation, layer.kernel_size, strict=True
        )
    )
    return nn.functional.unfold(
        wide[:, :, :height, :width],
        layer.kernel_size,
        dilation=layer.dilation,
        stride=layer.stride,
    )


def _positions(layer: Convolution, call: LayerCall) -> int:
    shaped = call.b if isinstance(layer, nn.Conv2d) else call.a
    return int(shaped.shape[2] * shaped.shape[3])


def _sides(layer: Convolution) -> tuple[int, int]:
    """Returns L and K of all groups together."""
    left = layer.weight.shape[0]
    return left, layer.weight.shape[1:].numel() * layer.groups


def _ghost_is_smaller(layer: Convolution, calls: Sequence[LayerCall]) -> bool:
    terms = sum(_positions(layer, call) for call in calls)
    if terms > _MOST_TERMS or max(_sides(layer)) > _MOST_COLUMNS:
        return False
    size, grams = layer.weight.numel(), 2 * layer.groups * terms * terms
    if len(calls[0].b) * size > _KEPT:
        return grams <= size
    return _GHOST_PAYS * grams <= size


def _units_at_once(layer: Convolution, calls: Sequence[LayerCall]) -> int:
    """Returns how many units are unfolded at a time: a power of 2, up to 64."""
    size = max(sum(_sides(layer)) * max(_positions(layer, call) for call in calls), 1)
    return 1 << (min(max(_AT_ONCE // size, 1), 64).bit_length() - 1)


def _some(call: LayerCall, start: int, end: int) -> LayerCall:
    return LayerCall(call.a[start:end], call.b[start:end])


def _aligned(columns: Tensor) -> Tensor:
    """Adds positions of zeros up to a multiple of 16, so that units start at 64 bytes each."""
    missing = -columns.shape[3] % _ALIGNED
    return nn.functional.pad(columns, [0, missing]) if missing else columns.contiguous()


CONVOLUTIONS: dict[type[nn.Module], ClosedForm] = {
    nn.Conv2d: _Convolution(),
    nn.ConvTranspose2d: _Convolution(),
}
