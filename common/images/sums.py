"""Sums over the vectors of images: what a site may be asked about its images.

Every sum maps a record, which is its vector (`vectors`) and its class, to whole numbers of a
bounded norm (`bounded`), and adds them up. What it takes off, the directions it looks in and the
radius it clips to are the coordinator's, made from earlier noisy answers; whatever they are, one
record adds no more than `L2_NORM`. They are taken to the nearest multiples of `bounded.GRID`, so
that a record's share is the same integers whoever else is there.

Each is released through `fedloom.privacy.mechanisms.noisy_sum`: with Gaussian noise of the phase's
multiplier times `L2_NORM` it is (epsilon, delta)-DP when one record, or one person with all its
rows, is added or removed, and its event is that one Gaussian.

`ClassMeans` tells what a class looks like, `Spread` in which directions images of one class
differ, `ClassSpread` how far each class goes in them, `GroupMeans` where groups within a class lie
and `GroupSpread` how large and how wide they are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.common.images.bounded import (
    gridded,
    packed_bound,
    packed_sum,
    packed_width,
    steps_of,
    unpacked,
    unpacked_std,
    whole,
)

__all__ = ["L2_NORM", "ClassMeans", "ClassSpread", "GroupMeans", "GroupSpread", "Spread"]

Array = NDArray[Any]

L2_NORM = 1 << 26
"""Most that one record adds to any of these sums, in steps."""
# Of the squared norm of a record's vector: for its squared length, which is told up to so many
# squared radii.
_LENGTH, _FAR = 0.08, 8.0
# For the count of its group, and for its mean.
_COUNT_ALONE = 0.1
_COUNT, _MEAN = 0.04, 0.16


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassMeans:
    """The sum of clipped vectors of each class, about a point of the coordinator's.

    A record adds its vector to one class: at most `L2_NORM`.

    Attributes:
      num_classes: of the label.
      centre: (D,) what is taken off.
      radius: that what is left is clipped to.
    """

    num_classes: int
    centre: Array
    radius: float

    @property
    def length(self) -> int:
        """Coordinates of the sum."""
        return self.num_classes * len(self.centre)

    def sum(self, vectors: Array, classes: Array) -> Array:
        """Returns the exact sum over records (N, D), (length,) int64."""
        steps = whole(vectors - gridded(self.centre), self.radius, L2_NORM)
        return _by_group(steps, classes, self.num_classes).reshape(-1)

    def sums(self, total: Array) -> Array:
        """Returns the sums (C, D) of clipped differences from the centre."""
        rows = total.reshape(self.num_classes, -1)
        return rows * (self.radius / steps_of(L2_NORM, rows.shape[1]))

    def std(self, std: float) -> float:
        """Returns the noise of each number of `sums`, from the sum's."""
        return std * self.radius / steps_of(L2_NORM, len(self.centre))


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """The second moments of all records about the means of their classes, and their lengths.

    Moments are of vectors clipped to the radius; squared lengths go further, so that what clipping
    took is known. A record adds one packed matrix `q q'` and one number, at most `L2_NORM`
    together.

    Attributes:
      means: (C, D).
      radius: that differences are clipped to.
    """

    means: Array
    radius: float

    @property
    def length(self) -> int:
        """Coordinates of the sum."""
        return 1 + packed_width(self.means.shape[1])

    def sum(self, vectors: Array, classes: Array) -> Array:
        """Returns the exact sum over records (N, D), (length,) int64."""
        far, bound = _far()
        apart = vectors - gridded(self.means)[classes]
        squares = np.einsum("nd,nd->n", apart, apart) / (_FAR * self.radius**2)
        lengths = np.rint(np.clip(np.nan_to_num(squares, nan=0.0), 0.0, 1.0) * far)
        moments = packed_sum(whole(apart, self.radius, bound))
        return np.concatenate([[int(lengths.sum())], moments])

    def within(self, total: Array) -> float:
        """Returns the sum of squared lengths of differences."""
        return float(total[0]) * _FAR * self.radius**2 / _far()[0]

    def matrix(self, total: Array) -> Array:
        """Returns the sum (D, D) of outer products of clipped differences."""
        width = self.means.shape[1]
        return unpacked(total[1:], width) * (self.radius / steps_of(_far()[1], width)) ** 2

    def stds(self, std: float) -> tuple[float, float]:
        """Returns the noise of `within`, and of `matrix` beside its diagonal, from the sum's."""
        far, bound = _far()
        steps = steps_of(bound, self.means.shape[1])
        return std * _FAR * self.radius**2 / far, unpacked_std(std) * (self.radius / steps) ** 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassSpread:
    """The second moments of each class about its mean, in a few directions.

    A record adds one packed matrix `q q'` to one class: at most `L2_NORM`.

    Attributes:
      means: (C, D).
      basis: (D, d) directions.
      radius: that the d numbers of a record are clipped to.
    """

    means: Array
    basis: Array
    radius: float

    @property
    def length(self) -> int:
        """Coordinates of the sum."""
        return len(self.means) * packed_width(int(self.basis.shape[1]))

    def sum(self, vectors: Array, classes: Array) -> Array:
        """Returns the exact sum over records (N, D), (length,) int64."""
        steps = whole(
            _seen(vectors, classes, self.means, self.basis), self.radius, packed_bound(L2_NORM)
        )
        parts = [packed_sum(steps[classes == label]) for label in range(len(self.means))]
        return np.concatenate(parts)

    def matrices(self, total: Array) -> Array:
        """Returns the sums (C, d, d) of outer products."""
        width = self.basis.shape[1]
        rows = total.reshape(len(self.means), -1)
        scale = (self.radius / steps_of(packed_bound(L2_NORM), width)) ** 2
        return np.stack([unpacked(row, width) for row in rows]) * scale

    def std(self, std: float) -> float:
        """Returns the noise of `matrices` beside their diagonals, from the sum's."""
        steps = steps_of(packed_bound(L2_NORM), self.basis.shape[1])
        return unpacked_std(std) * (self.radius / steps) ** 2


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupMeans:
    """How many records of a class are nearest to each of its centres, and where they lie.

    A record adds a count and a vector to one group: at most `L2_NORM` together. Which group it
    is in depends on that record alone.

    Attributes:
      means: (C, D).
      basis: (D, d) directions.
      centres: (C, K, d), in those directions.
      radius: that differences from the nearest centre are clipped to.
    """

    means: Array
    basis: Array
    centres: Array
    radius: float

    @property
    def length(self) -> int:
        """Coordinates of the sum."""
        classes, groups, width = self.centres.shape
        return int(classes * groups * (1 + width))

    def sum(self, vectors: Array, classes: Array) -> Array:
        """Returns the exact sum over records (N, D), (length,) int64."""
        group, beside = _grouped(vectors, classes, self.means, self.basis, self.centres)
        count, bound = _split(_COUNT_ALONE)
        steps = np.empty((len(beside), 1 + beside.shape[1]))
        steps[:, 0] = count
        steps[:, 1:] = whole(beside, self.radius, bound)
        return _by_group(steps, group, self._groups).reshape(-1)

    def parts(self, total: Array) -> tuple[Array, Array]:
        """Returns counts (C, K), and sums (C, K, d) of differences from the centres."""
        count, bound = _split(_COUNT_ALONE)
        rows = total.reshape(*self.centres.shape[:2], -1)
        steps = steps_of(bound, self.basis.shape[1])
        return rows[..., 0] / count, rows[..., 1:] * (self.radius / steps)

    def stds(self, std: float) -> tuple[float, float]:
        """Returns the noise of the two parts, from the sum's."""
        count, bound = _split(_COUNT_ALONE)
        return std / count, std * self.radius / steps_of(bound, self.basis.shape[1])

    @property
    def _groups(self) -> int:
        return int(self.centres.shape[0] * self.centres.shape[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSpread:
    """Counts, means and second moments of the records nearest to each centre of their class.

    A record adds all three to one group: at most `L2_NORM` together.

    Attributes:
      means: (C, D), as for `GroupMeans`, like all below.
      basis: (D, d) directions.
      centres: (C, K, d).
      radius: that differences from the nearest centre are clipped to.
    """

    means: Array
    basis: Array
    centres: Array
    radius: float

    @property
    def length(self) -> int:
        """Coordinates of the sum."""
        classes, groups, width = self.centres.shape
        return int(classes * groups * (1 + width + packed_width(width)))

    def sum(self, vectors: Array, classes: Array) -> Array:
        """Returns the exact sum over records (N, D), (length,) int64."""
        group, beside = _grouped(vectors, classes, self.means, self.basis, self.centres)
        count, bound, square = _three()
        width = beside.shape[1]
        groups = self.centres.shape[0] * self.centres.shape[1]
        total = np.zeros((groups, 1 + width + packed_width(width)), dtype=np.int64)
        total[:, 0] = count * np.bincount(group, minlength=groups)
        total[:, 1 : 1 + width] = _by_group(whole(beside, self.radius, bound), group, groups)
        steps = whole(beside, self.radius, square)
        for number in range(groups):
            total[number, 1 + width :] = packed_sum(steps[group == number])
        return total.reshape(-1)

    def parts(self, total: Array) -> tuple[Array, Array, Array]:
        """Returns counts (C, K), sums (C, K, d) and outer products (C, K, d, d)."""
        count, bound, square = _three()
        classes, groups, width = self.centres.shape
        rows = total.reshape(classes * groups, -1)
        moments = np.stack([unpacked(row, width) for row in rows[:, 1 + width :]])
        moments *= (self.radius / steps_of(square, width)) ** 2
        return (
            rows[:, 0].reshape(classes, groups) / count,
            rows[:, 1 : 1 + width].reshape(classes, groups, width)
            * (self.radius / steps_of(bound, width)),
            moments.reshape(classes, groups, width, width),
        )

    def stds(self, std: float) -> tuple[float, float, float]:
        """Returns the noise of the three parts (beside the diagonal), from the sum's."""
        count, bound, square = _three()
        width = self.basis.shape[1]
        return (
            std / count,
            std * self.radius / steps_of(bound, width),
            unpacked_std(std) * (self.radius / steps_of(square, width)) ** 2,
        )


def _far() -> tuple[int, int]:
    """Returns the whole number for the greatest length, and the bound of what is multiplied out."""
    far = math.floor(math.sqrt(_LENGTH) * L2_NORM)
    return far, packed_bound(math.isqrt(L2_NORM**2 - far**2))


def _split(share: float) -> tuple[int, int]:
    """Returns the whole numbers for a count, with a share of the squared norm, and for the rest."""
    count = math.floor(math.sqrt(share) * L2_NORM)
    return count, math.isqrt(L2_NORM**2 - count**2)


def _three() -> tuple[int, int, int]:
    """Returns the whole numbers for count and mean, and the bound of what is multiplied out."""
    count, mean = math.floor(math.sqrt(_COUNT) * L2_NORM), math.floor(math.sqrt(_MEAN) * L2_NORM)
    return count, mean, packed_bound(math.isqrt(L2_NORM**2 - count**2 - mean**2))


def _by_group(steps: Array, group: Array, groups: int) -> Array:
    total = np.zeros((groups, steps.shape[1]), dtype=np.int64)
    for number in np.unique(group):
        total[number] = steps[group == number].sum(axis=0).astype(np.int64)
    return total


def _seen(vectors: Array, classes: Array, means: Array, basis: Array) -> Array:
    # Exact: products of multiples of the grid, and few enough of them.
    beside = vectors - gridded(means)[classes]
    return gridded(beside @ gridded(basis))


def _grouped(
    vectors: Array, classes: Array, means: Array, basis: Array, centres: Array
) -> tuple[Array, Array]:
    """Returns the group of each record, and its difference from that group's centre."""
    seen = _seen(vectors, classes, means, basis)
    group = np.zeros(len(seen), dtype=np.int64)
    beside = np.zeros_like(seen)
    for label in range(len(means)):
        rows = np.flatnonzero(classes == label)
        own = gridded(centres[label])
        far = (own**2).sum(axis=1) - 2.0 * (seen[rows] @ own.T)
        nearest = far.argmin(axis=1)
        group[rows] = label * len(own) + nearest
        beside[rows] = seen[rows] - own[nearest]
    return group, beside
