"""The groups of each class: where they lie, how many records they have, how wide they are.

Two sums tell how wide: the second moments of a class about its mean, less what its groups' centres
lie apart, and those of each group about its centre, which add up to the same. Both are joined,
each with the weight that its noise leaves it. Classes are drawn towards what all have in common
(`shrinkage`), which a third sum tells too: that of all records without their classes. Groups lie
where their class is dense, so they differ from it in few directions: they keep what stands out of
noise there, and are as their class in all others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.common.images.sums import GroupSpread
from fedloom.server.images.algebra import above_noise, joined, nonnegative
from fedloom.server.images.shrinkage import gathered, shrunk_moves, shrunk_shapes

__all__ = ["ClassMoments", "GroupShapes", "group_moves", "group_shapes"]

Array = NDArray[Any]

# A group counts as at least so many standard deviations of the noise of its count, and one record.
_LEAST_STD = 2.0
_LEAST_SIZE = 1.0
# Of the spread within classes, that noise leaves to their groups however it falls.
_LEAST_WITHIN = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassMoments:
    """Noisy second moments of each class about its mean, what clipping took given back.

    Attributes:
      shapes: (C, d, d), not shrunk.
      noise: (C,) standard deviation beside their diagonals.
      whole: (d, d) of all records, from the sum that knows no classes.
      whole_noise: standard deviation beside its diagonal.
      pooled: (d, d) of all records, from both sums, without negative eigenvalues.
      seen: share of the whole spread within classes that lies in these directions, in [0, 1].
    """

    shapes: Array
    noise: Array
    whole: Array
    whole_noise: float
    pooled: Array
    seen: float

    @property
    def spreads(self) -> Array:
        """(d,) of all classes, in each direction."""
        found: Array = np.maximum(np.diag(self.pooled), 1e-9)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupShapes:
    """The groups of each class.

    Attributes:
      weights: (C, K), each row with sum 1.
      centres: (C, K, d).
      spreads: (C, K, d, d) covariances.
    """

    weights: Array
    centres: Array
    spreads: Array


def group_moves(
    counts: Array, sums: Array, *, count_std: float, std: float, spreads: Array
) -> Array:
    """Returns how far groups (C, K, d) move from the centres that they were asked about.

    Args:
      counts: (C, K) noisy numbers of records.
      sums: (C, K, d) noisy sums of differences from the centres.
      count_std: noise of `counts`.
      std: noise of `sums`.
      spreads: (d,) of all classes in each direction.
    """
    sizes = _sizes(counts, count_std)
    return shrunk_moves(sums / sizes[..., None], spreads, std / sizes)


def group_shapes(
    asked: GroupSpread,
    total: Array,
    std: float,
    moments: ClassMoments,
    shares: Array,
) -> GroupShapes:
    """Returns weights, centres and covariances of all groups.

    Args:
      asked: the last sum.
      total: its noisy value.
      std: of its noise.
      moments: of the classes.
      shares: (C,) of all records.
    """
    counts, sums, squares = asked.parts(total)
    count_std, mean_std, square_std = asked.stds(std)
    moves = group_moves(counts, sums, count_std=count_std, std=mean_std, spreads=moments.spreads)
    centres = asked.centres + moves
    weights = np.where(counts > _LEAST_STD * count_std, counts, 0.0)
    weights[weights.sum(axis=1) <= 0.0] = 1.0
    weights /= weights.sum(axis=1, keepdims=True)
    sizes = _sizes(counts, count_std)
    own = squares / sizes[..., None, None] - moves[..., :, None] * moves[..., None, :]

    apart = np.einsum("ck,cki,ckj->cij", weights, centres, centres)
    left = moments.shapes - apart
    whole = float(np.trace(moments.pooled))
    wanted = max(float(shares @ np.trace(left, axis1=1, axis2=2)), _LEAST_WITHIN * whole)
    seen = float(shares @ np.einsum("ck,ckii->c", weights, own))
    scale = wanted / seen if seen > 0.0 else 1.0
    own *= scale
    noise = scale * square_std / sizes

    added = np.einsum("ck,ckij->cij", weights, own)
    added_noise = np.sqrt(((weights * noise) ** 2).sum(axis=1))
    least = 1e-9 * whole
    precisions = np.maximum(np.stack([moments.noise, added_noise]), least) ** -2.0
    both = np.einsum("sc,scij->cij", precisions / precisions.sum(axis=0), np.stack([left, added]))
    both_noise = precisions.sum(axis=0) ** -0.5
    common, common_noise = joined(
        moments.whole - np.einsum("c,cij->ij", shares, apart),
        moments.whole_noise,
        np.einsum("c,cij->ij", shares, both),
        math.sqrt(float(shares**2 @ both_noise**2)),
    )
    within = shrunk_shapes(both, nonnegative(common), both_noise)
    variances = within.variances + common_noise**2 * (1.0 + np.eye(len(common)))
    spreads = np.zeros_like(own)
    for label, group in np.ndindex(*counts.shape):
        shape = within.shapes[label]
        shape = shape + above_noise(own[label, group] - shape, float(noise[label, group]))
        spreads[label, group] = gathered(
            nonnegative(shape), within.directions, variances[label], moments.seen
        )
    return GroupShapes(weights=weights, centres=centres, spreads=spreads)


def _sizes(counts: Array, count_std: float) -> Array:
    """Returns what sums over groups are divided by."""
    return np.maximum(counts, max(_LEAST_STD * count_std, _LEAST_SIZE))
