"""From noisy sums over images to a mixture of Gaussians for each class, step by step.

Each property is made from the sums that were opened before it and from nothing else, so the same
object designs the next request and, when all sums are there, gives the generator. Radii follow
from spreads that earlier noisy sums tell: a record at the root of the mean square is clipped, one
at the middle of most distributions is not.

What clipping takes from a spread is known: the sum of second moments also tells, unclipped, how
far images lie from their class's mean. Spreads are scaled by it, so that synthetic images differ as
much as images do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.common.images.bends import BENDS
from fedloom.common.images.coordinates import Coordinates
from fedloom.common.images.look import ImageLook, Look
from fedloom.common.images.shape import ImageShape
from fedloom.common.images.sums import (
    ClassMeans,
    ClassSpread,
    GroupMeans,
    GroupSpread,
    Spread,
)
from fedloom.common.images.vectors import FRAME_WIDTH
from fedloom.server.images.algebra import (
    edge_of,
    joined,
    k_means,
    nonnegative,
    root_of,
    taken_back,
)
from fedloom.server.images.bends import bend_scales, mean_tangents, share_of_shapes
from fedloom.server.images.groups import ClassMoments, GroupShapes, group_moves, group_shapes
from fedloom.server.images.shrinkage import shrunk_shapes
from fedloom.server.images.tones import shared_tones
from fedloom.server.images.view import View, view_of

__all__ = ["ImageFit", "NoisyTotal"]

Array = NDArray[Any]

# Radius in units of the root of the mean square; see the module.
_RADIUS = 0.95
# By how much means of vectors clipped to it are too short, and how sure that is: from 1.1 to 1.2
# on all sets that were looked at.
_UNCLIPPED, _UNCLIPPED_STD = 1.15, 0.05
_BAND = 8
_GRAIN_BAND = 20
_POINTS = 4000
# A group is worth having if its spread stands out of its noise by this part of the whole.
_GROUP_SIGNAL = 0.06
# Of slopes in images, what class means must hold to be bent: .17 and more where images have shapes,
# .02 and less for textures.
_LEAST_SHAPE = 0.1
_SEED = 20260101


@dataclass(frozen=True, slots=True, kw_only=True)
class NoisyTotal:
    """A noisy sum, and the standard deviation of its noise."""

    values: Array
    std: float


class ImageFit:
    """What follows from the noisy sums that are there."""

    def __init__(
        self,
        shape: ImageShape,
        counts: Array,
        totals: Sequence[NoisyTotal],
        *,
        coordinates: int,
        directions: int,
        groups: int,
        group_noise: float,
    ) -> None:
        """Takes the sums as far as they are there.

        Args:
          shape: of the images.
          counts: (C,) noisy number of records of each class; negative ones count as none.
          totals: the sums in the order in which they are asked.
          coordinates: of a vector, at most.
          directions: that images differ in, at most.
          groups: of a class, at most.
          group_noise: noise multiplier of the last sum, planned: public, and known beforehand.
        """
        self.shape = shape
        self.counts = np.maximum(counts, 1.0)
        self.shares = np.maximum(counts, 0.0) + 1e-9
        self.shares = self.shares / self.shares.sum()
        self.coordinates = Coordinates(shape, coordinates)
        self._totals = totals
        self._directions = directions
        self._groups = groups
        self._group_noise = group_noise

    @cached_property
    def look(self) -> Look:
        """What the first sum tells."""
        total = self._totals[0]
        return ImageLook(self.shape, len(self.counts)).read(total.values, total.std)

    @cached_property
    def view(self) -> View:
        """How images are looked at."""
        return view_of(self.look, self.counts, self.coordinates)

    @property
    def class_means(self) -> ClassMeans:
        """The sum to ask second."""
        radius = _RADIUS * math.sqrt(self.view.between + self.view.within)
        return ClassMeans(num_classes=len(self.counts), centre=self.view.centre, radius=radius)

    @cached_property
    def means(self) -> Array:
        """Mean vector of each class, (C, D); small differences that noise hides are left out."""
        asked, total = self.class_means, self._totals[1]
        apart = asked.sums(total.values) / self.counts[:, None]
        noise = (asked.std(total.std) / self.counts) ** 2
        longer = self._unclipped(apart, noise)
        apart, noise = longer * apart, longer**2 * noise
        told = noise * apart.shape[1] < self.view.between + self.view.within
        shares = np.where(told, self.shares, 0.0)
        shares = shares / max(float(shares.sum()), 1e-12)
        middle = shares @ apart
        apart = apart - middle
        signal = np.zeros(apart.shape[1])
        frequency = np.concatenate([self.coordinates.frequency, np.full(FRAME_WIDTH, -1.0)])
        order = np.argsort(frequency, kind="stable")
        for band in np.array_split(order, max(1, len(order) // _BAND)):
            squares = shares @ (apart[:, band] ** 2 - noise[:, None])
            signal[band] = max(float(squares.mean()), 0.0)
        kept = apart * (signal / (signal + noise[:, None] + 1e-12))
        means: Array = self.view.centre + middle + kept
        count = self.coordinates.count
        seen = np.clip(self.coordinates.images(means[:, :count]), 0.0, 1.0)
        means[:, :count] = self.coordinates.of(seen)
        if not self.view.framed:
            means[:, count:] = 0.0
        return means

    def _unclipped(self, apart: Array, noise: Array) -> float:
        """Returns by how much clipping made class means lie too near to the centre.

        Coarse means of the first sum are not clipped: the slope of one on the other tells it, as
        far as noise allows, and what most distributions of lengths do at this radius beyond that.

        Args:
          apart: (C, D) noisy means of clipped differences from the centre.
          noise: (C,) variance of each number.
        """
        number = int(self.view.framed)
        seen = self.look.views[number] / self.counts[:, None]
        of_seen = (self.look.stds[1 + number] / self.counts) ** 2
        seen = seen - self.shares @ seen
        own = apart[:, self.view.coarse]
        own = own - self.shares @ own
        squares, width = (own**2).sum(axis=1), own.shape[1]
        square = float(self.shares @ (squares - width * noise))
        if square <= 0.0:
            return _UNCLIPPED
        slope = np.array(float(self.shares @ (own * seen).sum(axis=1)) / square)
        doubt = squares * (of_seen + noise) + width * noise * (of_seen + 2.0 * noise)
        std = math.sqrt(float(self.shares**2 @ doubt)) / square
        found, _ = joined(np.array(_UNCLIPPED), _UNCLIPPED_STD, slope, std)
        return max(float(found), 1.0)

    @property
    def spread(self) -> Spread:
        """The sum to ask third."""
        return Spread(means=self.means, radius=_RADIUS * math.sqrt(self.view.within))

    @cached_property
    def _moments(self) -> tuple[Array, float]:
        """Noisy second moments (D, D) about the class means, and their noise."""
        asked, total, number = self.spread, self._totals[2], float(self.counts.sum())
        return asked.matrix(total.values) / number, asked.stds(total.std)[1] / number

    @cached_property
    def _eigen(self) -> tuple[Array, Array, float]:
        """Directions (D, d), the spread in each (d,), and what clipping took from it."""
        matrix, std = self._moments
        lengths = self.spread.within(self._totals[2].values) / float(self.counts.sum())
        clipped = max(float(np.trace(matrix)), 1e-9)
        by_frequency = np.argsort(self.coordinates.frequency, kind="stable")
        frames = self.coordinates.count + np.arange(FRAME_WIDTH * self.view.framed)
        best: tuple[float, Array, Array, Array] | None = None
        # The finer the coordinates, the more noise there is to stand out of.
        for count in _sizes(self.coordinates.count):
            chosen = np.concatenate([by_frequency[:count], frames])
            values, vectors = np.linalg.eigh(matrix[np.ix_(chosen, chosen)])
            values, vectors = values[::-1], vectors[:, ::-1]
            used = max(int((values > edge_of(len(chosen), std)).sum()), 1)
            used = min(used, self._directions)
            found = taken_back(values[:used], len(chosen), std)
            if best is None or found.sum() > best[0]:
                best = (float(found.sum()), chosen, found, vectors[:, :used])
        assert best is not None
        basis = np.zeros((len(matrix), len(best[2])))
        basis[best[1]] = best[3]
        return basis, np.maximum(best[2], 1e-9), max(1.0, lengths / clipped)

    @property
    def basis(self) -> Array:
        """Directions (D, d) in which images of one class differ, the strongest first."""
        return self._eigen[0]

    @property
    def _within(self) -> float:
        """Mean squared distance from the class's mean in these directions, clipping undone."""
        return float(self._eigen[1].sum()) * self._eigen[2]

    @property
    def class_spread(self) -> ClassSpread:
        """The sum to ask fourth."""
        radius = _RADIUS * math.sqrt(self._within)
        return ClassSpread(means=self.means, basis=self.basis, radius=radius)

    @cached_property
    def grain(self) -> Array:
        """Spread (count,) of coordinates beyond the directions, as standard deviations.

        By bands of frequency, less half of what noise does to one. Where values are black or white
        they have no grain, so it is taken back the more of them there are.
        """
        matrix, std = self._moments
        basis, values, scale = self._eigen
        count, ends = self.coordinates.count, shared_tones(self.look, self.counts).mean(axis=0)
        left = (np.diag(matrix) - basis**2 @ values)[:count]
        grain = np.zeros(count)
        order = np.argsort(self.coordinates.frequency, kind="stable")
        for band in np.array_split(order, max(1, count // _GRAIN_BAND)):
            noise = 0.5 * math.sqrt(2.0 / len(band)) * std
            grain[band] = max(float(left[band].mean()) - noise, 0.0)
        saturated = ends[0] + ends[-1]
        found: Array = np.sqrt(scale * grain) * float(np.clip(1.0 - saturated, 0.0, 1.0)) ** 2
        return found

    @cached_property
    def class_moments(self) -> ClassMoments:
        """What the fourth sum tells, and the third in these directions, clipping undone."""
        asked, total, number = self.class_spread, self._totals[3], float(self.counts.sum())
        sums, std = asked.matrices(total.values), asked.std(total.std)
        added = nonnegative(sums.sum(axis=0) / number)
        trace = float(np.trace(added))
        scale = max(self._within, trace) / max(trace, 1e-9)
        _, spreads, third = self._eigen
        whole, whole_noise = np.diag(third * spreads), third * self._moments[1]
        added_noise = scale * std * math.sqrt(len(self.counts)) / number
        pooled, _ = joined(whole, whole_noise, scale * added, added_noise)
        return ClassMoments(
            shapes=sums * (scale / self.counts[:, None, None]),
            noise=scale * std / self.counts,
            whole=whole,
            whole_noise=whole_noise,
            pooled=nonnegative(pooled),
            seen=min(float(spreads.sum() / max(np.trace(self._moments[0]), 1e-9)), 1.0),
        )

    @cached_property
    def class_shapes(self) -> Array:
        """Covariance (C, d, d) of each class about its mean."""
        moments = self.class_moments
        found = shrunk_shapes(moments.shapes, moments.pooled, moments.noise)
        return np.stack([nonnegative(shape) for shape in found.shapes])

    @cached_property
    def num_groups(self) -> int:
        """Groups of a class: as many as noise will leave worth having."""
        noise = 2.0 * self._group_noise * math.sqrt(self.basis.shape[1])
        wanted = _GROUP_SIGNAL * float(self.counts.mean()) / max(noise, 1e-9)
        return int(min(max(round(wanted), 1), self._groups))

    @cached_property
    def _first_centres(self) -> tuple[Array, float]:
        """Centres (C, K, d) of groups of points drawn from each class's shape, and their radius."""
        rng = np.random.default_rng(_SEED)
        centres, far = [], 0.0
        for share, shape in zip(self.shares, self.class_shapes, strict=True):
            points = rng.normal(size=(_POINTS, len(shape))) @ root_of(shape).T
            own = k_means(points, self.num_groups, rng)
            distance = (own**2).sum(axis=1) - 2.0 * (points @ own.T)
            far += share * float(((points**2).sum(axis=1) + distance.min(axis=1)).mean())
            centres.append(own)
        return np.stack(centres), _RADIUS * math.sqrt(far)

    @property
    def group_means(self) -> GroupMeans:
        """The sum to ask fifth."""
        centres, radius = self._first_centres
        return GroupMeans(means=self.means, basis=self.basis, centres=centres, radius=radius)

    @cached_property
    def centres(self) -> Array:
        """Centres (C, K, d) moved to where the records of their groups lie."""
        asked, total = self.group_means, self._totals[4]
        counts, sums = asked.parts(total.values)
        count_std, std = asked.stds(total.std)
        return asked.centres + group_moves(
            counts, sums, count_std=count_std, std=std, spreads=self.class_moments.spreads
        )

    @property
    def group_spread(self) -> GroupSpread:
        """The sum to ask last."""
        return GroupSpread(
            means=self.means,
            basis=self.basis,
            centres=self.centres,
            radius=self._first_centres[1],
        )

    @cached_property
    def group_shapes(self) -> GroupShapes:
        """Weights, centres and covariances of all groups."""
        total = self._totals[5]
        return group_shapes(
            self.group_spread, total.values, total.std, self.class_moments, self.shares
        )

    @cached_property
    def bends(self) -> Array:
        """How far each mode of a warp moves, as a standard deviation (`common.images.bends`)."""
        count, shares = self.coordinates.count, self.shares
        spreads = self.basis[:count] ** 2 @ self.class_moments.spreads + self.grain**2
        shapes = share_of_shapes(self.means[:, :count], spreads, shares, self.coordinates.frequency)
        if shapes < _LEAST_SHAPE:
            return np.zeros(BENDS)
        tangents = mean_tangents(self.means, self.coordinates) @ self.basis
        return bend_scales(tangents, self.class_moments, shares)


def _sizes(count: int) -> list[int]:
    """Returns numbers of coordinates to try: squares, and all."""
    return sorted({size**2 for size in range(5, 32) if size**2 < count} | {count})
