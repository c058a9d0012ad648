"""Does this machine compute as the clip needs it: every row alike, and float32 as float32?

The clip bounds a unit's influence only if the unit's gradient does not depend on its place among
the others. Matrix kernels may round rows differently (by their place modulo the kernel's width),
and hostile weights can turn that last bit into another gradient. Batches have a fixed number of
rows and models pad their layers, which removed every case found; but kernels differ between
machines, so a vault looks for itself before it answers. The look uses no record: all rows are
copies of one made-up row, what a request sets is random, and everything that a contribution is
made of must come out the same in every row, bit for bit.

Some machines can be set to multiply float32 matrices in less precision. Sums in single precision
would then round beyond their bound (`fedloom.privacy.clipping.single`), so that is looked at too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fedloom.common.models.draws import SeededDraws
from fedloom.common.models.private_model import PrivateModel
from fedloom.common.records import Coder
from fedloom.privacy.clipping.convolutions import CONVOLUTIONS, row_gradients
from fedloom.privacy.clipping.layers import LayerCall
from fedloom.privacy.clipping.single import BLOCK, block_products
from fedloom.privacy.clipping.units import physical_rows_with_people
from fedloom.privacy.mechanisms.batches import one_thread
from fedloom.privacy.physical_rows import physical_rows

__all__ = ["rows_are_invariant"]

_DRAWS = 3


@one_thread()
def rows_are_invariant(
    model: PrivateModel,
    *,
    coder: Coder,
    max_physical_batch: int | None,
    device: str = "cpu",
) -> bool:
    """Returns whether all rows are computed alike, and products of matrices round as float32.

    Inputs, outputs and output gradients of all layers are compared, and what convolutions make of
    them, for a batch of as many rows as training has, with records or with persons as units.

    Args:
      model: the plan's model.
      coder: the plan's; says what a record looks like.
      max_physical_batch: the plan's; the batch has the rows that training would have.
      device: where training would compute; other devices have other kernels.
    """
    sizes = {physical_rows(max_physical_batch), physical_rows_with_people(max_physical_batch)}
    return _rounds_as_float32() and all(
        _one_draw(model, coder, rows, seed, device)
        for rows in sorted(sizes)
        for seed in range(_DRAWS)
    )


def _rounds_as_float32() -> bool:
    """Holds products of blocks against their bound, entry by entry, at terms of one sign."""
    rng = torch.Generator().manual_seed(0)
    b, a = torch.rand(BLOCK, 48, generator=rng), torch.rand(BLOCK, 80, generator=rng)
    exact = b.double().t() @ a.double()
    error = (block_products(b, a) - exact).abs()
    return bool((error <= 1.01 * BLOCK * 2.0**-24 * exact).all())


def _one_draw(model: PrivateModel, coder: Coder, rows: int, seed: int, device: str) -> bool:
    rng = torch.Generator().manual_seed(seed)
    # What a request sets, public arrays included: fresh ones may hide how a kernel adds up.
    module, public = model.restore(
        {
            name: torch.randn(shape, generator=rng).numpy()
            for name, shape in model.request_shapes().items()
        }
    )
    features = np.zeros((rows, *coder.record_shape), dtype=coder.record_type)
    made = model.make_batch(features, np.zeros(rows, dtype=np.int64), public, SeededDraws(seed))
    batch = {name: value[:1].expand_as(value).clone().to(device) for name, value in made.items()}
    return all(bool((value == value[:1]).all()) for value in _seen(model, module.to(device), batch))


def _seen(model: PrivateModel, module: nn.Module, batch: Mapping[str, Tensor]) -> list[Tensor]:
    called: list[nn.Module] = []
    inputs: list[Tensor] = []
    outputs: list[Tensor] = []

    def record(layer: nn.Module, given: tuple[Any, ...], output: Tensor) -> None:
        called.append(layer)
        inputs.append(given[0].detach())
        outputs.append(output)

    layers = [part for part in module.modules() if not list(part.children())]
    handles = [layer.register_forward_hook(record) for layer in layers]
    try:
        losses = model.loss(module, batch)
        # What reads without weights, before the first layer that has some, has no gradient.
        learned = [value for value in outputs if value.requires_grad]
        found = iter(torch.autograd.grad(losses.sum(), learned, allow_unused=True))
        gradients = [next(found) if value.requires_grad else None for value in outputs]
    finally:
        for handle in handles:
            handle.remove()
    used = [value for value in gradients if value is not None]
    for layer, a, b in zip(called, inputs, gradients, strict=True):
        if type(layer) in CONVOLUTIONS and b is not None:
            assert isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
            used.append(torch.cat(list(row_gradients(layer, [LayerCall(a, b)]))))
    return [losses.detach(), *inputs, *(value.detach() for value in outputs), *used]
