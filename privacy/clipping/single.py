"""Where sums of clipped gradients may be made in single precision, and the bound that allows it.

A product of matrices in float32 takes half the time of one in float64, and its rounding error is
not bounded by the clip: it grows with everything else in the batch, so one unit could move the
sum by more than C. It is bounded here, rigorously, for any weights and values.

Rows are summed in blocks of 64, up to four blocks with each other, both in float32, and all that
in float64. Whatever the order of additions, a sum of n products is wrong by at most about n u times
the sum of their absolute values, u = 2^-24 (Higham 2002, section 3.1). So, over all parameters, a
block is wrong by at most 64 u T in L2 norm, where T = sum_i c_i S_i over its rows and S_i^2 is the
sum over layers of (sum over calls |a| |b|)^2 of row i; adding up four blocks is wrong by at most
3 u times the sum of their T. Blocks where T exceeds 192 C (64 C is the most that layers called
once can reach), or where an input is so large that products could underflow, are summed in float64
instead.

Units come in a secret order, all orders alike. Tables with and without one unit can then be
compared order by order so that all others keep their places but one, which moves to the end: put
the unit into a place of the smaller batch, and who was there last. So at most two blocks differ,
in at most two fours, and adding a unit moves the sum by at most C and
  4 * 64 u * 192 C            blocks that differ, before and after
  4 * 3 u * 768 C             fours that differ, before and after
  4 * 2 u * 192 C + 1e-6 C    rounding of scaled rows, and of norms
which is below 2^-8 C (0.0036 of 0.0039). Mechanisms take it off the clip (`tightened`). Given the
rest, an answer is a mixture over orders of Gaussians around such sums; pair by pair they are that
close, and the hockey-stick divergence is jointly convex, so the mixtures lose no more than a pair.

Not covered: machines whose float32 products are not float32 (reduced precision that somebody
switched on). `fedloom.privacy.clipping.row_invariance` looks for them before a vault answers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fedloom.privacy.clipping.units import Part

__all__ = [
    "ALLOWANCE",
    "BLOCK",
    "Factors",
    "Spread",
    "block_products",
    "block_sums",
    "split_factors",
    "tightened",
]

BLOCK = 64
ALLOWANCE = 2.0**-8
_MAX_SPREAD = 192.0
_BLOCKS_IN_SINGLE = 4
# 2^60 squared: below it the product of an input and a scaled gradient that underflows is nothing.
_MAX_SQUARE = 2.0**120


def tightened(max_grad_norm: float) -> float:
    """Returns the clip that keeps a unit's influence, rounding included, within `max_grad_norm`.

    >>> tightened(1.0) * (1.0 + ALLOWANCE)
    1.0
    """
    return max_grad_norm / (1.0 + ALLOWANCE)


@dataclass(frozen=True, slots=True)
class Spread:
    """What bounds the rounding of a layer's products, row by row; float64.

    `squared` is (sum over calls |a| |b|)^2, `largest` the greatest |a|^2. Of a layer called `once`
    the first is what the layer adds to the squared norm, or less.
    """

    squared: Tensor
    largest: Tensor
    once: bool


@dataclass(frozen=True, slots=True)
class Factors:
    """Clip factors, ready for sums.

    `units` are float64, one a unit; `rows` the same, one a row. Rows whose products may be summed
    in float32 have their factor in `single` (float32) and 0 in `double`, others the reverse; None
    stands for zeros alone.
    """

    units: Tensor
    rows: Tensor
    single: Tensor | None
    double: Tensor | None


def split_factors(factors: Tensor, part: Part, spreads: list[Spread], clip: float) -> Factors:
    """Decides, block by block, which rows are summed in float32.

    Args:
      factors: (units,) float64 clip factors; 0 for units that do not count.
      part: The physical batch; only shuffled ones without persons may use float32.
      spreads: Of every layer that has products; none if a layer is not float32.
      clip: C.
    """
    if part.people is not None:
        rows = factors[part.people.owners]
        return Factors(factors, rows, None, rows)
    if not _may_be_single(factors, part, spreads):
        return Factors(factors, factors, None, factors)
    if all(one.once and one.largest.numpy().max() <= _MAX_SQUARE for one in spreads):
        # S is within the norm, so no block has more than 64 C.
        return Factors(factors, factors, factors.float(), None)
    weights = factors.numpy()
    counts = weights > 0.0
    squared = np.sum([one.squared.numpy() for one in spreads], axis=0)
    largest = np.max([one.largest.numpy() for one in spreads], axis=0)
    blocks = (-1, BLOCK)
    spread = (weights * np.sqrt(squared, where=counts, out=np.zeros_like(weights))).reshape(blocks)
    tame = (~counts | (largest <= _MAX_SQUARE)).reshape(blocks)
    fast = (spread.sum(1) <= _MAX_SPREAD * clip) & tame.all(1)
    if fast.all():
        return Factors(factors, factors, factors.float(), None)
    rows = torch.from_numpy(np.repeat(fast, BLOCK))
    single, double = torch.where(rows, factors, 0.0), torch.where(rows, 0.0, factors)
    return Factors(factors, factors, single.float(), double)


def block_products(b: Tensor, a: Tensor) -> Tensor:
    """Returns b^T a in float64, of float32 (rows, m) and (rows, n), summed as the module says."""
    blocks = len(b) // BLOCK
    left = b.view(blocks, BLOCK, -1).transpose(1, 2)
    return _added(torch.bmm(left, a.reshape(blocks, BLOCK, -1)))


def block_sums(b: Tensor) -> Tensor:
    """Returns the sum of the rows of `b` in float64, of float32 (rows, m), in the same way."""
    return _added(b.view(len(b) // BLOCK, BLOCK, -1).sum(1))


def _added(blocks: Tensor) -> Tensor:
    fours = [four.sum(0) for four in torch.split(blocks, _BLOCKS_IN_SINGLE)]
    total: Tensor = fours[0].double()
    for four in fours[1:]:
        total += four
    return total


def _may_be_single(factors: Tensor, part: Part, spreads: list[Spread]) -> bool:
    return (
        part.shuffled
        and bool(spreads)
        and factors.device.type == "cpu"
        and len(factors) % BLOCK == 0
        and torch.get_float32_matmul_precision() == "highest"
    )
