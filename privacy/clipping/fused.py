"""Clipped sums in closed form: no per-unit gradient is ever in memory.

Of a layer z = f(a; w) on (B, d) activations the gradient of unit i is known from a_i and
b_i = dloss_i / dz_i alone: for Linear it is the outer product b_i a_i^T, whose norm is
|b_i| |a_i|. So one forward pass records every a, one backward pass finds every b (and skips the
weights), norms are dot products, and the clipped sum is one matrix product with b scaled by
the clip factors. A layer called several times in one loss (a critic on a record and on its fake)
has the gradient sum_k b_ik a_ik^T, of squared norm sum_kl (b_ik.b_il)(a_ik.a_il). Of a convolution
positions are such calls (`fedloom.privacy.clipping.convolutions`).

The contribution c_i g_i of a unit is at most C (1 + 1e-6), whatever the weights: a and b are taken
as they are in float32, products and sums are float64, and where calls can cancel the norm gets a
margin for its rounding (`fedloom.privacy.clipping.layers`).

This holds only if nothing but recorded calls uses a parameter. The autograd graph itself is
asked: no way from the loss to a parameter may avoid the recorded calls. Anything else raises
`UnsupportedModuleError`, which depends on the module and the loss, never on a unit.

Source: Goodfellow 2015 (arXiv:1510.01799) for norms; Bu et al. 2023 (arXiv:2210.00038) for
keeping a and b instead of a second backward pass.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, Node, get_gradient_edge

from fedloom.privacy.clipping.convolutions import CONVOLUTIONS
from fedloom.privacy.clipping.layers import CLOSED_FORMS, ClosedForm, LayerCall
from fedloom.privacy.clipping.single import split_factors
from fedloom.privacy.clipping.units import Loss, Part, check_losses, clip_factors

__all__ = ["UnsupportedModuleError", "fused_sum"]


_FORMS = {**CLOSED_FORMS, **CONVOLUTIONS}


class UnsupportedModuleError(Exception):
    """An error for a module or loss that has no closed form here; another engine has to do it."""


class _LayerOutput(NamedTuple):
    layer: nn.Module
    activation: Tensor
    version: int
    source: Node | None
    output: GradientEdge


def fused_sum(
    module: nn.Module,
    parameters: dict[str, nn.Parameter],
    loss: Loss,
    part: Part,
    max_grad_norm: float,
) -> dict[str, Tensor]:
    """Returns the clipped sum of one physical batch, in float64, without unused parameters.

    Raises:
      UnsupportedModuleError: a trainable parameter is used otherwise than by a layer with a closed
        form that is called on one activation per unit.
    """
    forms = _closed_forms(module)
    with _recording(forms) as recorded:
        losses = loss(module, part.batch)
    rows = part.rows
    check_losses(losses, rows)
    if not losses.requires_grad:
        return {}
    used = _used_calls(losses, recorded, parameters.values(), rows)
    calls = _with_output_gradients(losses, used)

    people = part.people
    measured = [forms[layer].measured(layer, of_layer, people) for layer, of_layer in calls.items()]
    squared = torch.zeros(rows, dtype=torch.float64, device=losses.device)
    for one in measured:
        squared += one.squared
    factors, finite = clip_factors(squared, max_grad_norm)
    factors[part.used if people is None else people.count :] = 0.0
    spreads = [one.spread for one in measured if one.spread is not None]
    if losses.dtype != torch.float32:
        spreads = []
    ready = split_factors(factors, part, spreads, max_grad_norm)
    if not bool(finite.all()):
        # A factor of 0 leaves out what is finite; 0 times NaN is NaN.
        measured = [
            forms[layer].measured(layer, [_cleaned(call, ready.rows > 0.0) for call in of], people)
            for layer, of in calls.items()
        ]
    names = {id(p): name for name, p in parameters.items()}
    return {names[id(p)]: value for one in measured for p, value in one.sums(ready)}


def _cleaned(call: LayerCall, counts: Tensor) -> LayerCall:
    """Puts zeros where rows do not count; fewer rows would make the shape depend on units."""
    return LayerCall(*(torch.where(_along(counts, value), value, 0) for value in (call.a, call.b)))


def _along(counts: Tensor, value: Tensor) -> Tensor:
    return counts.reshape(-1, *[1] * (value.dim() - 1))


def _closed_forms(module: nn.Module) -> dict[nn.Module, ClosedForm]:
    """Finds the form of every layer with trainable parameters; each parameter has one layer."""
    forms: dict[nn.Module, ClosedForm] = {}
    owners: Counter[int] = Counter()
    for layer in module.modules():
        own = [p for p in layer._parameters.values() if p is not None and p.requires_grad]
        if not own:
            continue
        form = _FORMS.get(type(layer))
        if form is None or not form.covers(layer):
            raise UnsupportedModuleError(f"no closed form for {type(layer).__name__}")
        forms[layer] = form
        owners.update({id(p) for p in own})
    if any(count > 1 for count in owners.values()):
        raise UnsupportedModuleError("two layers share a parameter")
    return forms


@contextmanager
def _recording(layers: Iterable[nn.Module]) -> Iterator[list[_LayerOutput]]:
    recorded: list[_LayerOutput] = []

    def record(layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if isinstance(output, Tensor) and not output.requires_grad:
            return
        if len(inputs) != 1 or not isinstance(inputs[0], Tensor) or not isinstance(output, Tensor):
            raise UnsupportedModuleError(f"{type(layer).__name__} called in an unusual way")
        # The edge, not the tensor: an in-place activation would replace the tensor's gradient.
        a = inputs[0]
        source = get_gradient_edge(a).node if a.requires_grad else None
        edge = get_gradient_edge(output)
        recorded.append(_LayerOutput(layer, a.detach(), a._version, source, edge))

    handles = [layer.register_forward_hook(record, prepend=True) for layer in layers]
    try:
        yield recorded
    finally:
        for handle in handles:
            handle.remove()


def _used_calls(
    losses: Tensor, recorded: Sequence[_LayerOutput], parameters: Iterable[nn.Parameter], rows: int
) -> list[_LayerOutput]:
    """Returns the calls that the losses depend on, sure that they are all uses of `parameters`.

    Walks the graph from the losses and goes on from a recorded output to that call's input
    alone: a parameter met on the way is used by something that was not recorded.
    """
    private = {id(p) for p in parameters}
    by_output = {call.output.node: call for call in recorded}
    used: list[_LayerOutput] = []
    seen: set[Node] = set()
    waiting: list[Node | None] = [losses.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        call = by_output.get(node)
        if call is None:
            waiting.extend(child for child, _ in node.next_functions)
            if id(getattr(node, "variable", None)) in private:
                raise UnsupportedModuleError("a parameter is used outside its layer")
            continue
        form = _FORMS[type(call.layer)]
        a = call.activation
        if a.dim() not in form.activation_dims or a.shape[0] != rows or a._version != call.version:
            raise UnsupportedModuleError(
                f"{type(call.layer).__name__} called on an activation that is not one per unit"
            )
        used.append(call)
        waiting.append(call.source)
    return used


def _with_output_gradients(
    losses: Tensor, used: Sequence[_LayerOutput]
) -> dict[nn.Module, list[LayerCall]]:
    if not used:
        return {}
    gradients = torch.autograd.grad(losses.sum(), [call.output for call in used])
    calls: dict[nn.Module, list[LayerCall]] = {}
    for call, b in zip(used, gradients, strict=True):
        calls.setdefault(call.layer, []).append(LayerCall(call.activation, b))
    return calls
