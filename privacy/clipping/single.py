"""Where sums of clipped gradients may be made in single precision, and the bound that allows it.

A product of matrices in float32 takes half the time of one in float64, and its rounding error is
not bounded by the clip: it grows with everything else in the batch, so one unit could move the
sum by more than C. It is bounded here, rigorously, for any weights and values.

Rows are summed in blocks of 64, each in float32, and the blocks in float64. Whatever the order of
additions, an entry of a block's product is wrong by at most g = 64 u / (1 - 64 u) times the sum
of its terms' absolute values, u = 2^-24 (Higham 2002, section 3.1). So, over all parameters, a
block is wrong by at most g * sum_i c_i S_i in L2 norm, where S_i^2 is the sum over layers of
(sum over calls |a| |b|)^2 of row i. Blocks where sum_i c_i S_i exceeds 192 C (64 C is the most that
layers called once can reach), or where an input is so large that products could underflow, are
summed in float64 instead.

Units come in a secret order, all orders alike. Tables with and without one unit can then be
compared order by order so that all others keep their places but one, which moves to the end: put
the unit into a place of the smaller batch and whoever was there last. So at most two blocks differ,
and adding a unit moves the sum by at most
  C + 4 g * 192 C + (rounding of scaled rows, below 2^-13 C)  <  C (1 + 2^-8)
which mechanisms take off the clip (`tightened`). A mixture of Gaussians over the orders, each pair
that close, loses no more than the worst pair: the hockey-stick divergence is jointly convex.

Not covered: machines whose float32 products are not float32 (reduced precision that somebody
switched on). `fedloom.privacy.clipping.alike` looks for them before a vault answers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fedloom.privacy.clipping.units import Part

__all__ = ["ALLOWANCE", "BLOCK", "Factors", "Spread", "block_sums", "split_factors", "tightened"]

BLOCK = 64
ALLOWANCE = 2.0**-8
_MOST_SPREAD = 192.0
# 2^60 squared: below it the product of an input and a scaled gradient that underflows is nothing.
_LARGEST_SQUARE = 2.0**120


def tightened(max_grad_norm: float) -> float:
    """Returns the clip that keeps a unit's influence, rounding included, within `max_grad_norm`.

    >>> tightened(1.0) * (1.0 + ALLOWANCE)
    1.0
    """
    return max_grad_norm / (1.0 + ALLOWANCE)


@dataclass(frozen=True, slots=True)
class Spread:
    """What bounds the rounding of a layer's products, row by row; float64.

    `squared` is (sum over calls |a| |b|)^2, `largest` the greatest |a|^2.
    """

    squared: Tensor
    largest: Tensor


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
    counts = factors > 0.0
    spread = torch.stack([one.squared for one in spreads]).sum(0).sqrt()
    spread = torch.where(counts, factors * spread, 0.0)
    largest = torch.stack([one.largest for one in spreads]).amax(0)
    tame = ~counts | (largest <= _LARGEST_SQUARE)
    fast = spread.view(-1, BLOCK).sum(1) <= _MOST_SPREAD * clip
    fast = (fast & tame.view(-1, BLOCK).all(1)).repeat_interleave(BLOCK)
    if bool(fast.all()):
        return Factors(factors, factors, factors.float(), None)
    zeros = torch.zeros_like(factors)
    single, double = torch.where(fast, factors, zeros), torch.where(fast, zeros, factors)
    return Factors(factors, factors, single.float(), double)


def block_sums(b: Tensor, a: Tensor) -> Tensor:
    """Returns b^T a in float64, of float32 (rows, m) and (rows, n), blocks of rows in float32."""
    blocks = len(b) // BLOCK
    left = b.reshape(blocks, BLOCK, -1).transpose(1, 2)
    products = torch.bmm(left, a.reshape(blocks, BLOCK, -1))
    return products.sum(0, dtype=torch.float64)


def _may_be_single(factors: Tensor, part: Part, spreads: list[Spread]) -> bool:
    return (
        part.shuffled
        and bool(spreads)
        and factors.device.type == "cpu"
        and len(factors) % BLOCK == 0
        and torch.get_float32_matmul_precision() == "highest"
    )
